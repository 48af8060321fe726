"""Judgments and verdicts of a few words, by rule from the ranks and scores of eft.jsonl and ../eft.jsonl.

It writes the folder brief:

python data/samples/small/brief.py
"""

import json
import random
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
WORDS = (
    "wrong from the start",
    "mostly wrong",
    "on the subject but vague or half wrong",
    "right at the core but thin",
    "right and specific, with a gap",
    "right, exact and complete",
)
JUDGED_TWICE = 66  # replies of which a right and a wrong judgment are shown, in both orders
Row = dict[str, Any]


def judgment(score: int) -> str:
    return f"{WORDS[score].capitalize()}.\nScore: {score}"


def examples(rows: Iterable[Row]) -> list[Row]:
    """Each reply with the judgment of its score."""
    return [row | {"judgment": judgment(row["score"])} for row in rows]


def comparisons(rows: Iterable[Row]) -> list[Row]:
    """Each two replies to a prompt with different scores, the better one first in every second of them."""
    found: list[Row] = []
    replies: dict[str, list[Row]] = {}
    for row in rows:
        replies.setdefault(row["prompt"], []).append(row)
    for prompt, of_prompt in replies.items():
        for pair in combinations(sorted(of_prompt, key=lambda row: row["rank"]), 2):
            if pair[0]["score"] == pair[1]["score"]:
                continue
            winner = "ab"[len(found) % 2]
            a, b = pair if winner == "a" else pair[::-1]
            texts = {"prompt": prompt, "response_a": a["response"], "response_b": b["response"]}
            said = f"A is {WORDS[a['score']]}; B is {WORDS[b['score']]}.\nWinner: Response {winner.upper()}"
            found.append(texts | {"comparison": said, "winner": winner})
    return found


def meta_judgments(rows: list[Row]) -> list[Row]:
    """A right judgment and one that is two points or more off, of some replies, in both orders."""
    found, draw = [], random.Random(1)
    for row in draw.sample(rows, JUDGED_TWICE):
        right = row["score"]
        wrong = draw.choice([score for score in range(len(WORDS)) if abs(score - right) >= 2])
        for winner, (a, b) in (("a", (right, wrong)), ("b", (wrong, right))):
            texts = {"prompt": row["prompt"], "response": row["response"]}
            judged = {"judgment_a": judgment(a), "judgment_b": judgment(b)}
            said = f"The response is {WORDS[right]}.\nWinner: Judgment {winner.upper()}"
            found.append(texts | judged | {"meta_judgment": said, "winner": winner})
    return found


def write(folder: Path) -> None:
    files = (FOLDER / "eft.jsonl", FOLDER.parent / "eft.jsonl")
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    folder.mkdir(exist_ok=True)
    for name, made in (
        ("eft", examples(rows)),
        ("comparisons", comparisons(rows)),
        ("meta_judge", meta_judgments(rows)),
    ):
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in made]
        (folder / f"{name}.jsonl").write_text("".join(lines))


if __name__ == "__main__":
    write(FOLDER / "brief")
