"""Gather the examples that teach the judge's format."""

from pathlib import Path

import polars as pl

from metareward.errors import UserError
from metareward.inputs.examples import read_eft
from metareward.inputs.replies import read_replies
from metareward.params import Formats
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import EFT, Stage
from metareward.selection.eft import select_eft
from metareward.tables import read_table, tally, write_table
from metareward.templates.texts import load_templates


def eft() -> None:
    params = load()
    texts = load_templates(params.templates)
    formats = Formats(params.judge.format, params.meta_judge.format, params.evaluate.format, params.judge.read)
    examples = read_eft(params.eft, texts, formats)
    if params.eft.seed_judges:
        replies = read_replies(Path(params.eft.file), "params.yaml: eft.file")
        judgments = read_table(EFT / "judgments.parquet", "judgments")
        agreeing = select_eft(replies, judgments, texts, params.seed)
        if agreeing.is_empty():
            raise UserError(
                f"none of {judgments.height} judgments agrees with the human ranking (invalid: "
                f"{tally(judgments['invalid_reason'])}). Hint: a small seed needs ready-made examples. "
                "(params.yaml: eft.source)"
            )
        examples = pl.concat([examples, agreeing])
    examples = write_table(examples, EFT / "eft.parquet", "eft")
    say(Stage("eft"), f"{examples.height} examples: {tally(examples['kind'])}")


if __name__ == "__main__":
    run(eft)
