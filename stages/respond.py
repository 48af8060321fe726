"""Actor: sample n responses of each prompt of an iteration."""

from functools import partial

from metareward.engines.common.sampler import Sampler
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import MODELS, Stage, iteration_folder
from metareward.roles.actor import response_requests, responses_table
from metareward.tables import read_table, tally, write_table


def respond(iteration: str, prev: str) -> None:
    params, stage, folder = load(), Stage("respond", iteration), iteration_folder(iteration)
    prompts = read_table(folder / "prompts.parquet", "prompts")
    requests = partial(response_requests, prompts, params.respond, stage.seed(params.seed))
    sample = Sampler(params, MODELS / prev, stage.work, stage.label)
    responses = responses_table(sample(requests))
    responses = write_table(responses, folder / "responses.parquet", "responses")
    ends = tally(responses["finish_reason"])
    say(stage, f"{responses.height} responses of {prompts.height} prompts; finished by: {ends}")


if __name__ == "__main__":
    run(respond)
