"""Held-out evaluation: does the judge agree with people, does a referee prefer the responses to the seed's.

Nothing here is a public benchmark. The referee is a frozen checkpoint of the run itself and is named in every
result that it gave.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
import scipy.stats

from metareward import params
from metareward.engines import Request
from metareward.generate import request, with_winners
from metareward.ids import content_id
from metareward.prompts import Templates
from metareward.tables import TABLES


def pairwise_agreement(judged: pl.DataFrame, scores: pl.DataFrame) -> tuple[float | None, float | None, int]:
    """How often the judge orders two replies of a prompt as people do: (ties as 0.5, ties left out, pairs).

    judged: prompt_id, response_id, rank (1 is the best); scores: response_id, mean. All pairs of replies of one
    prompt with different ranks and a score each; null where there is no pair (or none without a tie).
    """
    scored = judged.join(scores, on="response_id").drop_nulls("mean")
    scored = scored.select("prompt_id", "rank", "mean")
    pairs = scored.join(scored, on="prompt_id", suffix="_worse").filter(pl.col("rank") < pl.col("rank_worse"))
    outcome = (pl.col("mean") - pl.col("mean_worse")).sign() / 2 + 0.5
    outcomes = pairs.select(outcome.alias("outcome"))["outcome"]
    decided = outcomes.filter(outcomes != 0.5)
    return _mean(outcomes), _mean(decided), outcomes.len()


def rank_correlation(judged: pl.DataFrame, scores: pl.DataFrame) -> tuple[float | None, int]:
    """Spearman correlation of judge scores with human ranks, mean over prompts (1 = same order), and their number.

    Prompts with fewer than two scored replies, or whose scores or ranks are all equal, have no correlation.
    """
    scored = judged.join(scores, on="response_id").drop_nulls("mean")
    varied = scored.group_by("prompt_id").agg(
        kept=(pl.col("mean").n_unique() > 1) & (pl.col("rank").n_unique() > 1),
        spearman=-pl.corr("rank", "mean", method="spearman"),
    )
    values = varied.filter("kept").sort("prompt_id")["spearman"]  # the last digit of a mean depends on the order
    return _mean(values), values.len()


def pair_responses(prompts: pl.DataFrame, model: pl.DataFrame, baseline: pl.DataFrame) -> pl.DataFrame:
    """prompt_id, prompt, model, baseline: the responses of two models to the same prompts; unwritten ones left out."""
    texts = prompts.select("prompt_id", "prompt").join(model.select("prompt_id", model="response"), on="prompt_id")
    return texts.join(baseline.select("prompt_id", baseline="response"), on="prompt_id").drop_nulls()


def comparison_requests(
    compared: pl.DataFrame, templates: Templates, settings: params.Sampling, seed: int
) -> Iterator[Request]:
    """Referee: both orders of each row of `compared` (prompt_id, prompt, model, baseline: texts)."""
    for prompt_id, prompt, model, baseline in compared.select("prompt_id", "prompt", "model", "baseline").iter_rows():
        for model_first in (True, False):
            pair = (model, baseline) if model_first else (baseline, model)
            yield request(
                _comparison_id(prompt_id, model_first), templates.compare_prompt(prompt, *pair), settings, seed
            )


def comparisons_table(compared: pl.DataFrame, completions: pl.DataFrame) -> pl.DataFrame:
    """The `comparisons` table: the referee's verdict and winner of each row of `compared`, in both orders."""
    asked = [
        {"prompt_id": id_, "model_first": first, "request_id": _comparison_id(id_, first)}
        for id_ in compared["prompt_id"]
        for first in (True, False)
    ]
    schema = {"prompt_id": pl.String, "model_first": pl.Boolean, "request_id": pl.String}
    rows = pl.DataFrame(asked, schema=schema).join(with_winners(completions), on="request_id")
    model_won = (pl.col("winner") == "a") == pl.col("model_first")
    winner = pl.when(pl.col("winner").is_not_null()).then(
        pl.when(model_won).then(pl.lit("model")).otherwise(pl.lit("baseline"))
    )
    return rows.with_columns(winner=winner).rename({"text": "comparison"}).select(list(TABLES["comparisons"].columns))


def _comparison_id(prompt_id: str, model_first: bool) -> str:
    return content_id("comparison", prompt_id, model_first)


def win_rate(comparisons: pl.DataFrame, rounds: int, seed: int) -> tuple[float | None, float | None, float | None]:
    """Share of prompts won by the model, a tie or unreadable verdict as 0.5, with a bootstrap 95% interval.

    Outcomes are averaged over the two orders of a prompt first, so position bias cancels; prompts are resampled.
    The interval is null with fewer than two prompts.
    """
    winner = pl.col("winner")
    outcome = pl.when(winner == "model").then(1.0).when(winner == "baseline").then(0.0).otherwise(0.5)
    values = comparisons.group_by("prompt_id").agg(outcome.mean().alias("outcome")).sort("prompt_id")["outcome"]
    if values.len() < 2:
        return _mean(values), None, None
    interval = scipy.stats.bootstrap(
        (values.to_numpy(),), np.mean, n_resamples=rounds, method="percentile", rng=np.random.default_rng(seed)
    ).confidence_interval
    return _mean(values), float(interval.low), float(interval.high)


def held_out_results(
    checkpoint: str, judged: pl.DataFrame, responses: pl.DataFrame, judgments: pl.DataFrame, verdicts: pl.DataFrame
) -> pl.DataFrame:
    """The `results` rows of what one checkpoint wrote on the held-out sets.

    judged: the replies that people ranked; judgments: of them; verdicts: meta-judgments of these, a `battles` table.
    """
    scores = judgments.group_by("response_id").agg(pl.col("score").mean().alias("mean"))
    half, out, n_pairs = pairwise_agreement(judged, scores)
    spearman, n_correlated = rank_correlation(judged, scores)
    seen = responses.drop_nulls("response")
    rows = [
        ("readable_judgments", _mean(judgments["score"].is_not_null()), judgments.height),
        ("readable_verdicts", _mean(verdicts["winner"].is_not_null()), verdicts.height),
        ("agreement_ties_half", half, n_pairs),
        ("agreement_ties_left_out", out, n_pairs),
        ("spearman", spearman, n_correlated),
        ("score_mean", _mean(judgments["score"]), judgments["score"].count()),
        ("response_chars", _mean(seen["n_chars"]), seen.height),
    ]
    return _results(checkpoint, [(metric, value, None, None, n, None) for metric, value, n in rows])


def comparison_results(
    checkpoint: str, comparisons: pl.DataFrame, referee: str, rounds: int, seed: int
) -> pl.DataFrame:
    """The `results` rows of what the referee said of one checkpoint's responses; rounds, seed: of the bootstrap."""
    rate, low, high = win_rate(comparisons, rounds, seed)
    decided = comparisons.drop_nulls("winner")
    first_won = (decided["winner"] == "model") == decided["model_first"]
    readable = comparisons["winner"].is_not_null()
    rows = [
        ("win_rate", rate, low, high, comparisons["prompt_id"].n_unique(), referee),
        ("comparisons_readable", _mean(readable), None, None, comparisons.height, referee),
        ("comparisons_first_position", _mean(first_won), None, None, decided.height, referee),
    ]
    return _results(checkpoint, rows)


def _results(checkpoint: str, rows: Sequence[tuple[object, ...]]) -> pl.DataFrame:
    """Rows of metric, value, ci_low, ci_high, n, referee as a `results` table."""
    names = ["metric", "value", "ci_low", "ci_high", "n", "referee"]
    types = TABLES["results"].columns
    frame = pl.DataFrame(rows, schema={name: types[name] for name in names}, orient="row")
    return frame.with_columns(checkpoint=pl.lit(checkpoint), benchmark=pl.lit("held_out"))


def _mean(values: pl.Series) -> float | None:
    """The mean, or null of nothing."""
    return float(mean) if isinstance(mean := values.cast(pl.Float64).mean(), float) else None
