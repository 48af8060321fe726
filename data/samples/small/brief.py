"""Judgments that are a score and nothing else, and verdicts on them, by rule from the scores of replies.

The first command writes the folder brief from eft.jsonl and ../eft.jsonl, the second FOLDER from other files:

python data/samples/small/brief.py
python data/samples/small/brief.py FOLDER FILE ...
"""

import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
SCORES = range(6)
JUDGED_TWICE = 16  # replies of which a right and a wrong judgment are shown, in both orders
Row = dict[str, Any]


def meta_judgments(rows: list[Row]) -> list[Row]:
    """A right judgment and one that is two points or more off, of some replies, in both orders."""
    found, draw = [], random.Random(1)
    for row in draw.sample(rows, JUDGED_TWICE):
        right = row["score"]
        wrong = draw.choice([score for score in SCORES if abs(score - right) >= 2])
        for winner, (a, b) in (("a", (right, wrong)), ("b", (wrong, right))):
            texts = {"prompt": row["prompt"], "response": row["response"]}
            judged = {"judgment_a": str(a), "judgment_b": str(b)}
            said = f"Winner: Judgment {winner.upper()}"
            found.append(texts | judged | {"meta_judgment": said, "winner": winner})
    return found


def write(folder: Path, files: Sequence[Path] = (FOLDER / "eft.jsonl", FOLDER.parent / "eft.jsonl")) -> None:
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    folder.mkdir(parents=True, exist_ok=True)
    examples = [row | {"judgment": str(row["score"])} for row in rows]
    for name, made in (("eft", examples), ("meta_judge", meta_judgments(rows))):
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in made]
        (folder / f"{name}.jsonl").write_text("".join(lines))


if __name__ == "__main__":
    into, *files = [Path(name) for name in sys.argv[1:]] or [FOLDER / "brief"]
    write(into, *([files] if files else []))
