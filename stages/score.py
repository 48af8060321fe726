"""Mean and variance of the valid scores of each response."""

from metareward.select import score_statistics
from metareward.tables import write_parts

from common import iteration, run, say, scan_parts


def score(name: str) -> None:
    folder = iteration(name)
    parts = scan_parts(folder, "unique_responses", "judgments")
    scores = (score_statistics(part["responses"], part["judgments"]) for part in parts)
    counts = write_parts(scores, folder / "scores.parquet", "scores")
    say(f"{counts['mean']} of {counts['response_id']} responses have a score")


if __name__ == "__main__":
    run(score)
