"""Judge: sample n judgments of each response of an iteration, and read their scores; or ask a reward model for one."""

from functools import partial

import polars as pl

from metareward.engines.common.sampler import Sampler
from metareward.engines.reward.scores import score_conversations
from metareward.inputs.reward_model import reward_model_folder
from metareward.params import Params
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import MODELS, Stage, iteration_folder
from metareward.roles.judge import judged_responses, judgment_requests, judgments_table, watch_judgments
from metareward.roles.rewards import reward_conversations, rewards_table
from metareward.tables import read_table, tally, write_table
from metareward.templates.texts import load_templates


def judge(iteration: str, prev: str) -> None:
    params, stage, folder = load(), Stage("judge", iteration), iteration_folder(iteration)
    prompts = read_table(folder / "prompts.parquet", "prompts")
    responses = read_table(folder / "unique_responses.parquet", "responses")
    judged = judged_responses(prompts, responses)
    judgments = rewarded(judged, params, stage) if params.reward_model else sampled(judged, prev, params, stage)
    judgments = write_table(judgments, folder / "judgments.parquet", "judgments")
    invalid = tally(judgments["invalid_reason"])
    say(stage, f"{judgments.height} judgments of {judged.height} responses; invalid: {invalid}")


def sampled(judged: pl.DataFrame, prev: str, params: Params, stage: Stage) -> pl.DataFrame:
    """The judgments of the checkpoint before."""
    texts = load_templates(params.templates)
    requests = partial(judgment_requests, judged, texts, params.judge, stage.seed(params.seed), params.judge.read)
    sample = Sampler(params, MODELS / prev, stage.work, stage.label)
    watch = watch_judgments(judged, params.judge, params.resources.unreadable_after, stage.label, params.judge.read)
    return judgments_table(judged, sample(requests, watch), params.judge.format, params.judge.read)


def rewarded(judged: pl.DataFrame, params: Params, stage: Stage) -> pl.DataFrame:
    """The scores of the reward model."""
    settings, wait_hours = params.reward_model, params.resources.wait_hours
    conversations, model = partial(reward_conversations, judged), reward_model_folder(settings)
    scores = score_conversations(conversations, model, settings, wait_hours, stage.work, stage.label)
    return rewards_table(judged, scores)


if __name__ == "__main__":
    run(judge)
