"""Meta-judge: let each two judgments of a chosen response battle, in both orders."""

from functools import partial

from metareward.generate import battle_requests, battles_table
from metareward.select import list_battles
from metareward.tables import read_table, tally, write_table

from common import MODELS, iteration, load, run, sampler, say, stage_seed, templates


def meta_judge(name: str, prev: str) -> None:
    params = load()
    folder = iteration(name)
    prompts = read_table(folder / "prompts.parquet", "prompts")
    responses = read_table(folder / "unique_responses.parquet", "responses")
    judgments = read_table(folder / "judgments.parquet", "judgments")
    listed = list_battles(read_table(folder / "choices.parquet", "choices"), judgments)
    requests = partial(
        battle_requests,
        listed,
        prompts,
        responses,
        judgments,
        templates(params),
        params.meta_judge,
        stage_seed(params),
    )
    battles = battles_table(listed, sampler(params, MODELS / prev)(requests))
    battles = write_table(battles, folder / "battles.parquet", "battles")
    say(f"{battles.height} battles; invalid: {tally(battles['invalid_reason'])}")


if __name__ == "__main__":
    run(meta_judge)
