"""Mark identical responses of a prompt; they are not judged."""

from metareward.select import mark_duplicates
from metareward.tables import write_parts

from common import iteration, run, say, scan_parts


def dedup(name: str) -> None:
    folder = iteration(name)
    marked = (mark_duplicates(part["responses"]) for part in scan_parts(folder, "responses"))
    counts = write_parts(marked, folder / "unique_responses.parquet", "responses")
    say(f"{counts['duplicate_of']} of {counts['response_id']} responses are duplicates")


if __name__ == "__main__":
    run(dedup)
