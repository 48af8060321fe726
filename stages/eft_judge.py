"""Let the seed judge ranked human replies; an empty table where the judge examples are ready-made."""

from functools import partial
from pathlib import Path

from metareward.engines.common.sampler import Sampler
from metareward.inputs.replies import read_replies
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import EFT, MODELS, Stage
from metareward.roles.judge import judgment_requests, judgments_table, watch_judgments
from metareward.tables import empty_table, tally, write_table
from metareward.templates.texts import load_templates


def eft_judge() -> None:
    params, stage = load(), Stage("eft_judge")
    judgments = empty_table("judgments")
    if params.eft.seed_judges:
        judged = read_replies(Path(params.eft.file), "params.yaml: eft.file")
        texts = load_templates(params.templates)
        judge = params.judge.model_copy(update={"n": params.eft.n})
        requests = partial(judgment_requests, judged, texts, judge, stage.seed(params.seed), judge.read)
        sample = Sampler(params, MODELS / "seed", stage.work, stage.label)
        watch = watch_judgments(judged, judge, params.resources.unreadable_after, stage.label, judge.read)
        judgments = judgments_table(judged, sample(requests, watch), judge.format, judge.read)
    judgments = write_table(judgments, EFT / "judgments.parquet", "judgments")
    say(stage, f"{judgments.height} judgments of ranked replies; invalid: {tally(judgments['invalid_reason'])}")


if __name__ == "__main__":
    run(eft_judge)
