"""Mark identical responses of a prompt; they are not judged."""

from metareward.select import mark_duplicates
from metareward.tables import read_table, write_table

from common import iteration, run, say


def dedup(name: str) -> None:
    responses = mark_duplicates(read_table(iteration(name) / "responses.parquet", "responses"))
    write_table(responses, iteration(name) / "unique_responses.parquet", "responses")
    duplicates = responses.height - responses["duplicate_of"].null_count()
    say(f"{duplicates} of {responses.height} responses are duplicates")


if __name__ == "__main__":
    run(dedup)
