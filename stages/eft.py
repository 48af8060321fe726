"""Gather the examples that teach the judge's format."""

from pathlib import Path

import polars as pl

from metareward.eft import select_eft
from metareward.errors import UserError
from metareward.inputs import read_eft, read_replies
from metareward.tables import read_table, tally, write_table

from common import EFT, load, run, say, templates


def eft() -> None:
    params = load()
    examples = read_eft(params.eft, templates(params))
    if params.eft.source == "ranked":
        replies = read_replies(Path(params.eft.ranked), "params.yaml: eft.ranked")
        judgments = read_table(EFT / "judgments.parquet", "judgments")
        agreeing = select_eft(replies, judgments, templates(params), params.seed)
        if agreeing.is_empty():
            raise UserError(
                f"none of {judgments.height} judgments agrees with the human ranking (invalid: "
                f"{tally(judgments['invalid_reason'])}). Hint: a small seed needs ready-made examples. "
                "(params.yaml: eft.source)"
            )
        examples = pl.concat([examples, agreeing])
    examples = write_table(examples, EFT / "eft.parquet", "eft")
    say(f"{examples.height} examples: {tally(examples['kind'])}")


if __name__ == "__main__":
    run(eft)
