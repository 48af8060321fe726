"""Made-up files of judgments in the forms of upstream, and what `metareward score` says of them."""

import json

import pytest
from typer.testing import CliRunner

from metareward.cli.main import app
from metareward.errors import UserError


def score(*arguments):
    """The figures of a command's JSON, {metric: (value, n)}, and the lines on standard error."""
    result = CliRunner().invoke(app, ["score", *map(str, arguments), "--json"])
    if result.exception:
        raise result.exception
    figures = json.loads(result.stdout)
    assert all(set(figure) == {"value", "low", "high", "n"} for figure in figures.values())
    return {metric: (figure["value"], figure["n"]) for metric, figure in figures.items()}, result.stderr.splitlines()


def refused(*arguments):
    with pytest.raises(UserError) as raised:
        score(*arguments)
    return str(raised.value)


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def upstream(rows, **more):
    """The same as rows of annotations.json, which have instructions and outputs."""
    return [
        {
            "instruction": f"Do {row['index']}.",
            "output_1": "é" * row["len_1"],
            "generator_1": "theirs",
            "output_2": "x" * row["len_2"],
            "generator_2": "mine",
            "annotator": "judge",
            "preference": row["preference"],
            "raw_completion": None,
            **more,
        }
        for row in rows
    ]


def arena_row(question, *labels, **more):
    games = [{"user_prompt": "p", "judgment": f"So: [[{label}]]", "score": label} for label in labels]
    return {"question_id": question, "model": "mine", "judge": "judge", "games": games, **more}


def mt_row(question, turn, rating, **more):
    return {
        "question_id": question,
        "model": "mine",
        "judge": ["gpt-4", "single-v1" if turn == 1 else "single-v1-multi-turn"],
        "user_prompt": "p",
        "judgment": f"Good. Rating: [[{rating}]]",
        "score": rating,
        "turn": turn,
        "tstamp": 1.5,
        **more,
    }
