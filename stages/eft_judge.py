"""Let the seed judge ranked human replies; an empty table where the judge examples are ready-made."""

from functools import partial
from pathlib import Path

from metareward.generate import judgment_requests, judgments_table
from metareward.inputs import read_replies
from metareward.tables import empty_table, tally, write_table

from common import EFT, MODELS, load, run, sampler, say, stage_seed, templates


def eft_judge() -> None:
    params = load()
    judgments = empty_table("judgments")
    if params.eft.source == "ranked":
        judged = read_replies(Path(params.eft.ranked), "params.yaml: eft.ranked")
        requests = partial(judgment_requests, judged, templates(params), params.judge, stage_seed(params))
        judgments = judgments_table(judged, sampler(params, MODELS / "seed")(requests))
    judgments = write_table(judgments, EFT / "judgments.parquet", "judgments")
    say(f"{judgments.height} judgments of ranked replies; invalid: {tally(judgments['invalid_reason'])}")


if __name__ == "__main__":
    run(eft_judge)
