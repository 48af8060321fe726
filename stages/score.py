"""Mean and variance of the valid scores of each response."""

from metareward.select import score_statistics
from metareward.tables import read_table, write_table

from common import iteration, run, say


def score(name: str) -> None:
    responses = read_table(iteration(name) / "unique_responses.parquet", "responses")
    judgments = read_table(iteration(name) / "judgments.parquet", "judgments")
    scores = write_table(score_statistics(responses, judgments), iteration(name) / "scores.parquet", "scores")
    say(f"{scores.height - scores['mean'].null_count()} of {scores.height} responses have a score")


if __name__ == "__main__":
    run(score)
