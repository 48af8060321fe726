"""Everything that is measured of what one checkpoint wrote on the held-out sets."""

import polars as pl

from metareward.evaluation.drift import score_distribution, score_variance
from metareward.evaluation.held_out import held_out_outcomes
from metareward.evaluation.judge_bias import decided_battles, judge_bias
from metareward.evaluation.outcomes import results_of
from metareward.evaluation.results import results_table


def measure(
    checkpoint: str,
    judged: pl.DataFrame,
    responses: pl.DataFrame,
    judgments: pl.DataFrame,
    verdicts: pl.DataFrame,
    others: pl.DataFrame,
    rounds: int,
    seed: int,
) -> dict[str, pl.DataFrame]:
    """The tables outcomes, results, judge_bias and score_distribution, by name. METHOD §6.

    judged, responses, judgments, verdicts: as `held_out_outcomes` takes them; others: outcomes that are there already,
    against a strong judge. rounds, seed: of every bootstrap.
    """
    outcomes = pl.concat([held_out_outcomes(checkpoint, judged, responses, judgments, verdicts), others])
    variance, interval, n = score_variance(judgments, rounds, seed)
    rows = [*results_of(outcomes, rounds, seed), ("score_variance", variance, *interval, n, None)]
    return {
        "outcomes": outcomes,
        "results": results_table(checkpoint, rows),
        "judge_bias": judge_bias(decided_battles(verdicts, judgments), checkpoint, "held_out", rounds, seed),
        "score_distribution": score_distribution(checkpoint, judgments),
    }
