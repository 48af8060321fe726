"""Mean and variance of the valid scores of each response."""

from metareward.pipeline.frame import run, say
from metareward.pipeline.parts import scan_parts
from metareward.pipeline.stage import Stage, iteration_folder
from metareward.selection.scores import score_statistics
from metareward.tables import write_parts


def score(iteration: str) -> None:
    folder = iteration_folder(iteration)
    parts = scan_parts(folder, "unique_responses", "judgments")
    scores = (score_statistics(part["responses"], part["judgments"]) for part in parts)
    counts = write_parts(scores, folder / "scores.parquet", "scores")
    say(Stage("score", iteration), f"{counts['mean']} of {counts['response_id']} responses have a score")


if __name__ == "__main__":
    run(score)
