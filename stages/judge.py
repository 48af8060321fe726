"""Judge: sample n judgments of each response of an iteration, and read their scores."""

from functools import partial

from metareward.generate import judged_responses, judgment_requests, judgments_table
from metareward.tables import read_table, tally, write_table

from common import MODELS, iteration, load, run, sampler, say, stage_seed, templates


def judge(name: str, prev: str) -> None:
    params = load()
    prompts = read_table(iteration(name) / "prompts.parquet", "prompts")
    responses = read_table(iteration(name) / "unique_responses.parquet", "responses")
    judged = judged_responses(prompts, responses)
    requests = partial(judgment_requests, judged, templates(params), params.judge, stage_seed(params))
    judgments = judgments_table(judged, sampler(params, MODELS / prev)(requests))
    judgments = write_table(judgments, iteration(name) / "judgments.parquet", "judgments")
    say(f"{judgments.height} judgments of {judged.height} responses; invalid: {tally(judgments['invalid_reason'])}")


if __name__ == "__main__":
    run(judge)
