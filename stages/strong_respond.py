"""Let the seed answer held-out prompts, for a strong judge; an empty table where there is none."""

from functools import partial
from pathlib import Path

from metareward.engines.common.sampler import Sampler
from metareward.inputs.pool import read_prompts
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import MODELS, STRONG_JUDGE, Stage
from metareward.roles.actor import response_requests, responses_table
from metareward.selection.scores import mark_duplicates
from metareward.tables import write_table


def strong_respond() -> None:
    params, stage = load(), Stage("strong_respond")
    strong = params.evaluate.strong_judge
    prompts = read_prompts(Path(params.evaluate.prompts), "params.yaml: evaluate.prompts").slice(0, strong.n_prompts)
    respond = params.respond.model_copy(update={"n": strong.n_responses})
    requests = partial(response_requests, prompts, respond, stage.seed(params.seed))
    sample = Sampler(params, MODELS / "seed", stage.work, stage.label)
    responses = mark_duplicates(responses_table(sample(requests)))
    write_table(responses, STRONG_JUDGE / "responses.parquet", "responses")
    say(stage, f"{responses.height} responses of {prompts.height} prompts")


if __name__ == "__main__":
    run(strong_respond)
