"""Let the referee, a frozen checkpoint, compare a checkpoint's held-out responses with the seed's, in both orders.

The seed is not compared with itself: its tables are empty.
"""

from functools import partial
from pathlib import Path

from metareward.engines.common.sampler import Sampler
from metareward.evaluation.outcomes import results_of
from metareward.evaluation.results import results_table
from metareward.evaluation.win_rate import comparison_outcomes
from metareward.inputs.pool import read_prompts
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import MODELS, Stage, comparison_folder, evaluation_folder
from metareward.roles.referee import comparison_requests, comparisons_table, pair_responses
from metareward.tables import empty_table, read_table, tally, write_table
from metareward.templates.texts import load_templates


def compare(checkpoint: str) -> None:
    params, stage, folder = load(), Stage("compare", checkpoint), comparison_folder(checkpoint)
    settings = params.evaluate
    comparisons = empty_table("comparisons")
    if checkpoint != "seed":
        prompts = read_prompts(Path(settings.prompts), "params.yaml: evaluate.prompts")
        responses = (evaluation_folder(name) / "responses.parquet" for name in (checkpoint, "seed"))
        compared = pair_responses(prompts, *(read_table(path, "responses") for path in responses))
        texts, seed = load_templates(params.templates), stage.seed(params.seed)
        requests = partial(comparison_requests, compared, texts, params.meta_judge, seed)
        sample = Sampler(params, MODELS / settings.referee, stage.work, stage.label)
        comparisons = comparisons_table(compared, sample(requests), settings.format)
    outcomes = comparison_outcomes(checkpoint, comparisons, settings.referee)
    results = results_table(checkpoint, results_of(outcomes, settings.bootstrap, params.seed))
    comparisons = write_table(comparisons, folder / "comparisons.parquet", "comparisons")
    write_table(outcomes, folder / "outcomes.parquet", "outcomes")
    write_table(results, folder / "results.parquet", "results")
    say(stage, f"{comparisons.height} comparisons by {settings.referee}; won by: {tally(comparisons['winner'])}")


if __name__ == "__main__":
    run(compare)
