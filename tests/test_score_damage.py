"""Files of judgments that went wrong: read, or refused in one line."""

import gzip
import json
import random

import polars as pl
import pytest

from metareward.evaluation.arena_hard import read_label
from metareward.evaluation.mt_bench import CATEGORIES, read_rating
from metareward.inputs.alpaca_eval import read_annotations
from metareward.inputs.alpaca_eval_constants import read_difficulty, read_gamed, read_questions
from metareward.inputs.arena_hard import read_games, read_tokens
from metareward.inputs.judged import Tally
from metareward.inputs.mt_bench import read_categories, read_ratings

from damage import damaged, refusal, rows_or_refusal
from judgments import arena_row, mt_row, upstream

READERS = {
    "annotations": lambda path: read_annotations(path, Tally()).rows.rows(),
    "difficulty": lambda path: read_difficulty(path).rows(),
    "gamed": lambda path: read_gamed(path, pl.DataFrame({"index": range(60)})).rows(),
    "questions": lambda path: [*read_questions(path)],
    "games": lambda path: read_games(path, Tally(), read_label).games.rows(),
    "tokens": lambda path: read_tokens(path, Tally()).to_list(),
    "ratings": lambda path: read_ratings(path, Tally(), read_rating, CATEGORIES).ratings.rows(),
    "categories": lambda path: [*read_categories(path)],
}
GOOD = {
    "annotations": upstream([{"index": k, "len_1": 3, "len_2": 4, "preference": 1.25} for k in range(3)]),
    "difficulty": [{"index": k, "instruction_difficulty": 0.5 * k} for k in range(3)],
    "gamed": [{"source": "s", "index": k, "std_delta_len": 0.5, "reconstructed_preference": 0.25} for k in range(3)],
    "questions": [{"index": k, "instruction": f"Do {k}."} for k in range(3)],
    "games": [arena_row("a", "A>B", "B>A"), arena_row("b", "A=B", None)],
    "tokens": [{"question_id": f"q{k}", "choices": [{"turns": [{"content": "a", "token_len": k}]}]} for k in (1, 2)],
    "ratings": [mt_row(81, 1, 9), mt_row(81, 2, 7.5), mt_row(82, 1, -1)],
    "categories": [{"question_id": k, "category": "c"} for k in range(3)],
}


@pytest.mark.parametrize("kind", READERS)
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path, kind):
    draw = random.Random(kind)
    path = tmp_path / "x.json"
    lines = "".join(json.dumps(row) + "\n" for row in GOOD[kind]).encode()
    forms = [lines, json.dumps(GOOD[kind]).encode(), gzip.compress(lines)]
    if kind in ("difficulty", "gamed"):
        forms.append(pl.DataFrame(GOOD[kind]).write_csv().encode())
    read = 0
    for _ in range(250):
        path.write_bytes(damaged(draw.choice(forms), draw))
        read += bool(rows_or_refusal(lambda: READERS[kind](path)))
    assert 25 < read < 250  # some damage does not matter, and some does


def test_a_refusal_names_the_file(tmp_path):
    for kind, read in READERS.items():
        assert str(tmp_path / "none.json") in refusal(read, tmp_path / "none.json"), kind
