"""Human replies that people ranked."""

from pathlib import Path

import polars as pl

from metareward.errors import UserError
from metareward.ids import content_id
from metareward.inputs.lines import read_rows


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
        for row in read_rows(path, key, {"prompt": str, "response": str, "rank": int})
    ]
    types = {name: pl.Int64 if name == "rank" else pl.String for name in rows[0]}
    frame = pl.DataFrame(rows, schema=types).unique("response_id", keep="first", maintain_order=True)
    if frame.group_by("prompt_id").agg(pl.col("rank").n_unique())["rank"].max() == 1:
        raise UserError(f"{path} has no prompt with two replies of different rank. ({key})")
    kept = frame["prompt_id"].unique(maintain_order=True).slice(0, n_prompts)
    return frame.filter(pl.col("prompt_id").is_in(kept.implode()))
