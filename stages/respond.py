"""Actor: sample n responses of each prompt of an iteration."""

from functools import partial

from metareward.generate import response_requests, responses_table
from metareward.tables import read_table, tally, write_table

from common import MODELS, iteration, load, run, sampler, say, stage_seed


def respond(name: str, prev: str) -> None:
    params = load()
    prompts = read_table(iteration(name) / "prompts.parquet", "prompts")
    requests = partial(response_requests, prompts, params.respond, stage_seed(params))
    responses = responses_table(sampler(params, MODELS / prev)(requests))
    responses = write_table(responses, iteration(name) / "responses.parquet", "responses")
    say(f"{responses.height} responses of {prompts.height} prompts; finished by: {tally(responses['finish_reason'])}")


if __name__ == "__main__":
    run(respond)
