"""Let a strong judge score the seed's held-out responses; an empty table where there is none."""

from functools import partial
from pathlib import Path

from metareward.engines.judges import load_judge
from metareward.inputs.pool import read_prompts
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import STRONG_JUDGE, Stage
from metareward.roles.judge import judged_responses, judgment_requests, judgments_table, watch_judgments
from metareward.tables import empty_table, read_table, tally, write_table
from metareward.templates.texts import load_templates


def strong_judge() -> None:
    params, stage = load(), Stage("strong_judge")
    strong, judgments = params.evaluate.strong_judge, empty_table("judgments")
    if strong.n_prompts:
        prompts = read_prompts(Path(params.evaluate.prompts), "params.yaml: evaluate.prompts")
        judged = judged_responses(prompts, read_table(STRONG_JUDGE / "responses.parquet", "responses"))
        judge = params.judge.model_copy(update={"n": strong.n_judgments})
        requests = partial(judgment_requests, judged, load_templates(params.templates), judge, stage.seed(params.seed))
        sample = load_judge(strong.judge, params, stage.work, stage.label, "evaluate.strong_judge.judge")
        watch = watch_judgments(judged, judge, params.resources.unreadable_after, stage.label)
        judgments = judgments_table(judged, sample(requests, watch), judge.format)
    judgments = write_table(judgments, STRONG_JUDGE / "judgments.parquet", "judgments")
    invalid = tally(judgments["invalid_reason"])
    off = "no strong judge (params.yaml: evaluate.strong_judge.n_prompts is 0)"
    say(stage, f"{judgments.height} judgments by {strong.judge.model}; invalid: {invalid}" if strong.n_prompts else off)


if __name__ == "__main__":
    run(strong_judge)
