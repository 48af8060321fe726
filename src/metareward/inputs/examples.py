"""Ready-made examples that teach the formats of judge, meta-judge and referee, and good replies."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from metareward.errors import UserError
from metareward.ids import content_id
from metareward.inputs.lines import read_rows
from metareward.params import Eft, Formats, Params, WinnerFormat
from metareward.tables import TABLES
from metareward.templates.number import MAX_SCORE
from metareward.templates.score import parse_score
from metareward.templates.texts import Templates
from metareward.templates.winner import parse_winner


def read_eft(eft: Eft, templates: Templates, formats: Formats) -> pl.DataFrame:
    """The `eft` table of the ready-made example files; each target must read back as its own score or winner.

    Raises UserError for the first that does not.
    """
    rows: list[dict[str, Any]] = []
    if "judge" in eft.kinds and not eft.seed_judges:
        path, key = Path(eft.file), "params.yaml: eft.file"
        fields = {"prompt": str, "response": str, "judgment": str, "score": float}
        for number, row in enumerate(read_rows(path, key, fields), 1):
            if not 0 <= row["score"] <= MAX_SCORE:
                raise UserError(f"{path}, row {number}: score is {row['score']}; it must lie in [0, 5]. ({key})")
            found = parse_score(row["judgment"], row["response"], formats.judge)
            if found.value != row["score"]:
                read = f"reads as {found.invalid_reason if found.value is None else found.value}, not {row['score']}"
                raise UserError(f"{path}, row {number}: judgment {read}{_hint(formats.judge, 'judge.format')}. ({key})")
            if formats.read == "first_token" and row["judgment"][:1] != f"{row['score']:g}":
                raise UserError(
                    f"{path}, row {number}: judge.read is first_token, so a judgment must begin with its score, a "
                    f"whole one; this one begins {row['judgment'][:20]!r}, and its score is {row['score']:g}. ({key})"
                )
            prompt = templates.judge_prompt(row["prompt"], row["response"])
            rows.append(eft_example("judge", prompt, row["judgment"], row["score"]))
    if "meta_judge" in eft.kinds:
        names = ["prompt", "response", "judgment_a", "judgment_b"]
        rows += _verdicts(
            "meta_judge", eft.meta_judge, names, "meta_judgment", templates.meta_judge_prompt, formats.meta_judge
        )
    if "compare" in eft.kinds:
        names = ["prompt", "response_a", "response_b"]
        rows += _verdicts("compare", eft.compare, names, "comparison", templates.compare_prompt, formats.compare)
    if "reply" in eft.kinds:
        answers = read_rows(Path(eft.reply), "params.yaml: eft.reply", {"prompt": str, "response": str})
        rows += [eft_example("reply", row["prompt"], row["response"], None) for row in answers]
    frame = pl.DataFrame(rows, schema=dict(TABLES["eft"].columns))
    return frame.unique("example_id", keep="first", maintain_order=True)


def formats_of(params: Params) -> Formats:
    """The formats of closing lines that params name."""
    return Formats(params.judge.format, params.meta_judge.format, params.evaluate.format, params.judge.read)


def eft_example(kind: str, prompt: str, target: str, score: float | None) -> dict[str, Any]:
    """One row of the `eft` table: a one-turn chat and what the model is to write."""
    return {
        "example_id": content_id("eft", kind, prompt, target),
        "kind": kind,
        "messages": [{"role": "user", "content": prompt}],
        "target": target,
        "score": None if score is None else float(score),
    }


def _verdicts(
    kind: str, file: str, names: list[str], target: str, prompt_of: Any, format_: WinnerFormat
) -> Iterator[dict[str, Any]]:
    path, key = Path(file), f"params.yaml: eft.{kind}"
    fields = dict.fromkeys((*names, target, "winner"), str)
    for number, row in enumerate(read_rows(path, key, fields), 1):
        found = parse_winner(row[target], format_)
        if found.winner != row["winner"]:
            read = f"reads as winner {found.winner or found.invalid_reason}, not {row['winner']}"
            hint = _hint(format_, "meta_judge.format" if kind == "meta_judge" else "evaluate.format")
            raise UserError(f"{path}, row {number}: {target} {read}{hint}. ({key})")
        yield eft_example(kind, prompt_of(*(row[name] for name in names)), row[target], None)


def _hint(format_: object, key: str) -> str:
    return "" if format_ == "line" else f", in the format {format_ if isinstance(format_, str) else 'pattern'} ({key})"
