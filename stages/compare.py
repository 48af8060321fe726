"""Let the referee, a frozen checkpoint, compare a checkpoint's held-out responses with the seed's.

By its verdicts on both, in both orders, or by its judgments of each. The seed is not compared with itself: of it there
are judgments at most.
"""

from functools import partial
from pathlib import Path

import polars as pl

from metareward.engines.common.sampler import Sampler
from metareward.evaluation.outcomes import results_of
from metareward.evaluation.results import results_table
from metareward.evaluation.win_rate import comparison_outcomes, score_outcomes
from metareward.inputs.pool import read_prompts
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import MODELS, Stage, comparison_folder, evaluation_folder
from metareward.roles.judge import judged_responses, judgment_requests, judgments_table
from metareward.roles.referee import comparison_requests, comparisons_table, pair_responses
from metareward.tables import empty_table, read_table, tally, write_table
from metareward.templates.texts import load_templates


def compare(checkpoint: str) -> None:
    params, stage, folder = load(), Stage("compare", checkpoint), comparison_folder(checkpoint)
    settings = params.evaluate
    prompts = read_prompts(Path(settings.prompts), "params.yaml: evaluate.prompts")
    paths = (evaluation_folder(name) / "responses.parquet" for name in (checkpoint, "seed"))
    responses, baseline = (read_table(path, "responses") for path in paths)
    texts, seed = load_templates(params.templates), stage.seed(params.seed)
    sample = Sampler(params, MODELS / settings.referee, stage.work, stage.label)
    comparisons, judgments = empty_table("comparisons"), empty_table("judgments")
    if settings.compare == "scores":
        both = pl.concat([baseline, responses]).unique("response_id", keep="first", maintain_order=True)
        judged = judged_responses(prompts, both).sort("prompt_id", "response_id")
        judge, seed = params.judge.model_copy(update={"n": settings.n_judgments}), Stage("compare").seed(params.seed)
        requests = partial(judgment_requests, judged, texts, judge, seed, judge.read)
        judgments = judgments_table(judged, sample(requests), judge.format, judge.read)
        outcomes = score_outcomes(checkpoint, responses, baseline, judgments, settings.referee)
        said = f"{judgments.height} judgments by {settings.referee}"
    else:
        if checkpoint != "seed":
            compared = pair_responses(prompts, responses, baseline)
            requests = partial(comparison_requests, compared, texts, params.meta_judge, seed)
            comparisons = comparisons_table(compared, sample(requests), settings.format)
        outcomes = comparison_outcomes(checkpoint, comparisons, settings.referee)
        said = f"{comparisons.height} comparisons by {settings.referee}; won by: {tally(comparisons['winner'])}"
    results = results_table(checkpoint, results_of(outcomes, settings.bootstrap, params.seed))
    write_table(comparisons, folder / "comparisons.parquet", "comparisons")
    write_table(judgments, folder / "judgments.parquet", "judgments")
    write_table(outcomes, folder / "outcomes.parquet", "outcomes")
    write_table(results, folder / "results.parquet", "results")
    say(stage, said)


if __name__ == "__main__":
    run(compare)
