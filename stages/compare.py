"""Let the referee, a frozen checkpoint, compare a checkpoint's held-out responses with the seed's, in both orders."""

from functools import partial
from pathlib import Path

from metareward.evaluate import comparison_requests, comparison_results, comparisons_table, pair_responses
from metareward.inputs import read_prompts
from metareward.tables import read_table, tally, write_table

from common import MODELS, comparison, evaluation, load, run, sampler, say, stage_seed, templates


def compare(checkpoint: str) -> None:
    params, folder = load(), comparison(checkpoint)
    settings = params.evaluate
    prompts = read_prompts(Path(settings.prompts), "params.yaml: evaluate.prompts")
    model, seed = (read_table(evaluation(name) / "responses.parquet", "responses") for name in (checkpoint, "seed"))
    compared = pair_responses(prompts, model, seed)
    requests = partial(comparison_requests, compared, templates(params), params.meta_judge, stage_seed(params))
    comparisons = comparisons_table(compared, sampler(params, MODELS / settings.referee)(requests))
    comparisons = write_table(comparisons, folder / "comparisons.parquet", "comparisons")
    results = comparison_results(checkpoint, comparisons, settings.referee, settings.bootstrap, params.seed)
    write_table(results, folder / "results.parquet", "results")
    say(f"{comparisons.height} comparisons by {settings.referee}; won by: {tally(comparisons['winner'])}")


if __name__ == "__main__":
    run(compare)
