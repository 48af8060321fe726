"""Ready-made examples that teach the formats of judge, meta-judge and referee."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from metareward.errors import UserError
from metareward.ids import content_id
from metareward.inputs.lines import read_rows
from metareward.params import Eft
from metareward.tables import TABLES
from metareward.templates.score import MAX_SCORE, parse_score
from metareward.templates.texts import Templates
from metareward.templates.winner import parse_winner


def read_eft(eft: Eft, templates: Templates) -> pl.DataFrame:
    """The `eft` table of the ready-made example files; each target must read back as its own score or winner."""
    rows: list[dict[str, Any]] = []
    if "judge" in eft.kinds and not eft.seed_judges:
        path, key = Path(eft.file), "params.yaml: eft.file"
        fields = {"prompt": str, "response": str, "judgment": str, "score": float}
        for number, row in enumerate(read_rows(path, key, fields), 1):
            if not 0 <= row["score"] <= MAX_SCORE:
                raise UserError(f"{path}, row {number}: score is {row['score']}; it must lie in [0, 5]. ({key})")
            if (found := parse_score(row["judgment"], row["response"]).value) != row["score"]:
                raise UserError(f"{path}, row {number}: judgment reads as {found}, not {row['score']}. ({key})")
            prompt = templates.judge_prompt(row["prompt"], row["response"])
            rows.append(eft_example("judge", prompt, row["judgment"], row["score"]))
    if "meta_judge" in eft.kinds:
        texts = ["prompt", "response", "judgment_a", "judgment_b"]
        rows += _verdicts("meta_judge", eft.meta_judge, texts, "meta_judgment", templates.meta_judge_prompt)
    if "compare" in eft.kinds:
        texts = ["prompt", "response_a", "response_b"]
        rows += _verdicts("compare", eft.compare, texts, "comparison", templates.compare_prompt)
    frame = pl.DataFrame(rows, schema=dict(TABLES["eft"].columns))
    return frame.unique("example_id", keep="first", maintain_order=True)


def eft_example(kind: str, prompt: str, target: str, score: float | None) -> dict[str, Any]:
    """One row of the `eft` table: a one-turn chat and what the model is to write."""
    return {
        "example_id": content_id("eft", kind, prompt, target),
        "kind": kind,
        "messages": [{"role": "user", "content": prompt}],
        "target": target,
        "score": None if score is None else float(score),
    }


def _verdicts(kind: str, file: str, names: list[str], target: str, prompt_of: Any) -> Iterator[dict[str, Any]]:
    path, key = Path(file), f"params.yaml: eft.{kind}"
    fields = dict.fromkeys((*names, target, "winner"), str)
    for number, row in enumerate(read_rows(path, key, fields), 1):
        if (found := parse_winner(row[target]).winner) != row["winner"]:
            raise UserError(f"{path}, row {number}: {target} reads as winner {found}, not {row['winner']}. ({key})")
        yield eft_example(kind, prompt_of(*(row[name] for name in names)), row[target], None)
