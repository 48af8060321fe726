"""Scores published AlpacaEval annotations and prints the differences from the leaderboard: the table of benchmarks.md.

    python docs/published.py ALPACA_EVAL DIFFICULTY GAMED

ALPACA_EVAL: a clone of github.com/tatsu-lab/alpaca_eval, whose results/ hold annotations (without Git LFS, some of
them) and whose leaderboard holds figures. DIFFICULTY, GAMED: as of `metareward score alpaca-eval`.
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

from metareward.errors import UserError
from metareward.evaluation.alpaca_eval import PENALTIES, alpaca_eval_scores
from metareward.inputs.alpaca_eval import read_annotations
from metareward.inputs.alpaca_eval_constants import read_difficulty, read_gamed
from metareward.inputs.judged import Tally

JUDGE = "weighted_alpaca_eval_gpt4_turbo"
LEADERBOARD = f"src/alpaca_eval/leaderboards/data_AlpacaEval_2/{JUDGE}_leaderboard.csv"
HEAD = """| model | annotations | win rate: published | off by | length: published | off by | LC: published | off by \
| at the nearest penalty |
|---|---:|---:|---:|---:|---:|---:|---:|---:|"""


def rows(clone: Path, difficulty: Path, gamed: Path) -> Iterator[str]:
    """A row of the table for each model whose annotations are there: what is published, and how far ours is off.

    The last column is the least difference over the larger half of the penalties that cross-validation chooses among.
    """
    hard = read_difficulty(difficulty)
    cheated = read_gamed(gamed, hard)
    with (clone / LEADERBOARD).open() as file:
        leaderboard = {row[""]: row for row in csv.DictReader(file)}
    for path in sorted(clone.glob(f"results/*/{JUDGE}/annotations.json"), key=lambda path: path.parts[-3].lower()):
        published = leaderboard.get(path.parts[-3], {})
        if not published.get("length_controlled_winrate"):
            continue
        try:
            annotations = read_annotations(path, Tally())
        except UserError:  # a pointer of Git LFS
            continue
        won, controlled, length = (score.value or 0 for score in alpaca_eval_scores(annotations.rows, hard, cheated))
        figures = [float(published[name]) for name in ("win_rate", "avg_length", "length_controlled_winrate")]
        at = (alpaca_eval_scores(annotations.rows, hard, cheated, c)[1].value or 0 for c in PENALTIES[5:])
        nearest = min((value - figures[2] for value in at), key=abs)
        yield (
            f"| {path.parts[-3]} | {annotations.rows.height} | {figures[0]:.2f} | {abs(won - figures[0]):.0e} "
            f"| {figures[1]:.0f} | {length - figures[1]:.0f} | {figures[2]:.2f} | {controlled - figures[2]:+.4f} "
            f"| {nearest:+.4f} |"
        )


if __name__ == "__main__":
    print(HEAD)
    for line in rows(*map(Path, sys.argv[1:])):
        print(line)
