"""Judge: sample n judgments of each response of an iteration, and read their scores."""

from functools import partial

from metareward.engines.common.sampler import Sampler
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import MODELS, Stage, iteration_folder
from metareward.roles.judge import judged_responses, judgment_requests, judgments_table, watch_judgments
from metareward.tables import read_table, tally, write_table
from metareward.templates.texts import load_templates


def judge(iteration: str, prev: str) -> None:
    params, stage, folder = load(), Stage("judge", iteration), iteration_folder(iteration)
    prompts = read_table(folder / "prompts.parquet", "prompts")
    responses = read_table(folder / "unique_responses.parquet", "responses")
    judged = judged_responses(prompts, responses)
    texts = load_templates(params.templates)
    requests = partial(judgment_requests, judged, texts, params.judge, stage.seed(params.seed))
    sample = Sampler(params, MODELS / prev, stage.work, stage.label)
    watch = watch_judgments(judged, params.judge, params.resources.unreadable_after, stage.label)
    judgments = judgments_table(judged, sample(requests, watch), params.judge.format)
    judgments = write_table(judgments, folder / "judgments.parquet", "judgments")
    invalid = tally(judgments["invalid_reason"])
    say(stage, f"{judgments.height} judgments of {judged.height} responses; invalid: {invalid}")


if __name__ == "__main__":
    run(judge)
