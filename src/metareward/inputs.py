"""The files a user supplies, read into tables: each mistake is one line with file, line number and field."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from metareward.errors import UserError
from metareward.ids import content_id
from metareward.params import Eft, Params
from metareward.prompts import MAX_SCORE, Templates, load_templates, parse_score, parse_winner
from metareward.tables import TABLES


def read_prompts(path: Path, key: str) -> pl.DataFrame:
    """The `prompts` table of a JSON Lines file with the field prompt and, optionally, category.

    Repeated prompts are read once. key: the name of the parameter that holds the path, for error messages.
    """
    rows = [
        {"prompt_id": content_id("prompt", row["prompt"]), "prompt": row["prompt"], "source": str(row["category"])}
        for row in _rows(path, key, {"prompt": str}, {"category": path.stem})
    ]
    frame = pl.DataFrame(rows, schema=dict(TABLES["prompts"].columns))
    return frame.unique("prompt_id", keep="first", maintain_order=True)


def slice_prompts(pool: pl.DataFrame, size: int, position: int, seed: int) -> pl.DataFrame:
    """The prompts of one iteration: slice number `position` of `size` prompts of the seeded permutation of the pool.

    Slices of different positions are disjoint, and stay the same when an iteration is added (METHOD §1).
    """
    draw = pl.col("prompt_id").map_elements(lambda id_: content_id("order", seed, id_), return_dtype=pl.String)
    return pool.sort(draw, "prompt_id").slice(position * size, size)


def read_replies(path: Path, key: str, n_prompts: int | None = None) -> pl.DataFrame:
    """Ranked human replies: prompt_id, prompt, response_id, response, rank (1 is the best).

    n_prompts: read only the replies to the first so many prompts (null: all).
    Raises UserError when no prompt has two replies of different rank: nothing could be compared.
    """
    rows = [
        {
            "prompt_id": content_id("prompt", row["prompt"]),
            "prompt": row["prompt"],
            "response_id": content_id("reply", row["prompt"], row["response"]),
            "response": row["response"],
            "rank": row["rank"],
        }
        for row in _rows(path, key, {"prompt": str, "response": str, "rank": int})
    ]
    frame = pl.DataFrame(rows).unique("response_id", keep="first", maintain_order=True)
    if frame.group_by("prompt_id").agg(pl.col("rank").n_unique())["rank"].max() == 1:
        raise UserError(f"{path} has no prompt with two replies of different rank. ({key})")
    kept = frame["prompt_id"].unique(maintain_order=True).slice(0, n_prompts)
    return frame.filter(pl.col("prompt_id").is_in(kept.implode()))


def read_eft(eft: Eft, templates: Templates) -> pl.DataFrame:
    """The `eft` table of the ready-made example files; each target must read back as its own score or winner."""
    rows: list[dict[str, Any]] = []
    if "judge" in eft.kinds and eft.source == "examples":
        path, key = Path(eft.judge), "params.yaml: eft.judge"
        fields = {"prompt": str, "response": str, "judgment": str, "score": (int, float)}
        for number, row in enumerate(_rows(path, key, fields), 1):
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
    for number, row in enumerate(_rows(path, key, fields), 1):
        if (found := parse_winner(row[target]).winner) != row["winner"]:
            raise UserError(f"{path}, row {number}: {target} reads as winner {found}, not {row['winner']}. ({key})")
        yield eft_example(kind, prompt_of(*(row[name] for name in names)), row[target], None)


def check_inputs(params: Params) -> None:
    """Read every file that params name, so that a mistake in one stops a run before any model loads."""
    templates = load_templates(dict(params.templates))
    pool = read_prompts(Path(params.prompts.file), "params.yaml: prompts.file")
    needed = params.prompts.per_iteration * len(params.iterations)
    if pool.height < needed:
        raise UserError(
            f"{params.prompts.file} has {pool.height} different prompts; {len(params.iterations)} iterations of "
            f"{params.prompts.per_iteration} need {needed}. (params.yaml: prompts.per_iteration)"
        )
    read_eft(params.eft, templates)
    if params.eft.source == "ranked":
        read_replies(Path(params.eft.ranked), "params.yaml: eft.ranked")
    read_prompts(Path(params.evaluate.prompts), "params.yaml: evaluate.prompts")
    read_replies(Path(params.evaluate.judged), "params.yaml: evaluate.judged")


def _rows(
    path: Path, key: str, fields: dict[str, Any], defaults: dict[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """The objects of a JSON Lines file, each with the named fields of the named types, texts not empty."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        raise UserError(f"{path} cannot be read. ({key})") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text. ({key})") from None
    empty = True
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number} is not JSON: {error.msg}. ({key})") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number} is no JSON object. ({key})")
        for name, kind in fields.items():
            if name not in row:
                raise UserError(f"{path}, line {number} has no field {name!r}. ({key})")
            value = row[name]
            if not isinstance(value, kind) or isinstance(value, bool) or value == "" or str(value).isspace():
                wanted = "a text that is not empty" if kind is str else "a number"
                raise UserError(f"{path}, line {number}: {name} is {value!r}; it must be {wanted}. ({key})")
        empty = False
        yield {**(defaults or {}), **row}
    if empty:
        raise UserError(f"{path} has no rows. ({key})")
