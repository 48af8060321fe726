"""Mark identical responses of a prompt; they are not judged."""

from metareward.pipeline.frame import run, say
from metareward.pipeline.parts import scan_parts
from metareward.pipeline.stage import Stage, iteration_folder
from metareward.selection.scores import mark_duplicates
from metareward.tables import write_parts


def dedup(iteration: str) -> None:
    folder = iteration_folder(iteration)
    marked = (mark_duplicates(part["responses"]) for part in scan_parts(folder, "responses"))
    counts = write_parts(marked, folder / "unique_responses.parquet", "responses")
    say(Stage("dedup", iteration), f"{counts['duplicate_of']} of {counts['response_id']} responses are duplicates")


if __name__ == "__main__":
    run(dedup)
