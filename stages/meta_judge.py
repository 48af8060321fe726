"""Meta-judge: let each two judgments of a chosen response battle, in both orders."""

from functools import partial

from metareward.engines.common.sampler import Sampler
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import MODELS, Stage, iteration_folder
from metareward.roles.meta_judge import battle_requests, battles_table, watch_verdicts
from metareward.selection.battles import list_battles
from metareward.tables import read_table, tally, write_table
from metareward.templates.texts import load_templates


def meta_judge(iteration: str, prev: str) -> None:
    params, stage, folder = load(), Stage("meta_judge", iteration), iteration_folder(iteration)
    prompts = read_table(folder / "prompts.parquet", "prompts")
    responses = read_table(folder / "unique_responses.parquet", "responses")
    judgments = read_table(folder / "judgments.parquet", "judgments")
    listed = list_battles(read_table(folder / "choices.parquet", "choices"), judgments)
    texts, seed = load_templates(params.templates), stage.seed(params.seed)
    requests = partial(battle_requests, listed, prompts, responses, judgments, texts, params.meta_judge, seed)
    sample = Sampler(params, MODELS / prev, stage.work, stage.label)
    watch = watch_verdicts(params.meta_judge, params.resources.unreadable_after, stage.label)
    battles = battles_table(listed, sample(requests, watch), params.meta_judge.format)
    battles = write_table(battles, folder / "battles.parquet", "battles")
    say(stage, f"{battles.height} battles; invalid: {tally(battles['invalid_reason'])}")


if __name__ == "__main__":
    run(meta_judge)
