"""How well so many judgments order the responses of a prompt, from the judgments that a run has stored."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metareward.evaluation.intervals import Interval, bootstrap_mean, bootstrap_sums

SPLITS = 100
Array = NDArray[np.float64]


class Scores(NamedTuple):
    """Scores of the responses of an iteration.

    values: responses x judgments, NaN where a judgment is unreadable or was not asked; prompts: of each response the
    number of its prompt, from 0 on.
    """

    values: Array
    prompts: NDArray[np.int64]


def score_matrix(judgments: pl.DataFrame, n: int) -> Scores:
    """The scores of n judgments of each response; of judgments it takes prompt_id, response_id, sample, score."""
    rows = judgments.filter(pl.col("sample") < n).sort("prompt_id", "response_id", "sample")
    response = rows["response_id"].rle_id().to_numpy()
    values = np.full((response[-1] + 1 if len(response) else 0, n), np.nan)
    values[response, rows["sample"].to_numpy()] = rows["score"].cast(pl.Float64).to_numpy()
    first = np.unique(response, return_index=True)[1]
    return Scores(values, rows["prompt_id"].rle_id().to_numpy()[first].astype(np.int64))


def joined(parts: Sequence[Scores]) -> Scores:
    """Parts with prompts of their own as one."""
    starts = np.cumsum([0, *(part.prompts[-1] + 1 if len(part.prompts) else 0 for part in parts)])
    prompts = [part.prompts + start for part, start in zip(parts, starts, strict=False)]
    return Scores(np.concatenate([part.values for part in parts]), np.concatenate(prompts))


def split_half(scores: Scores, seed: int) -> Array:
    """Of each prompt the sums of x y and of (x x + y y) / 2, over its responses and SPLITS random splits.

    x and y are the mean scores by two disjoint halves of the judgments, each less its mean over the prompt's responses.
    A response without a readable score in both halves does not count in this split. METHOD §6.
    """
    rng, n = np.random.default_rng(seed), scores.values.shape[1]
    sums = np.zeros((scores.prompts[-1] + 1 if len(scores.prompts) else 0, 2))
    for _ in range(SPLITS if n > 1 else 0):
        order = rng.permutation(n)
        halves = [_means(scores.values[:, order[start : start + n // 2]]) for start in (0, n // 2)]
        valid = ~np.isnan(halves[0] + halves[1])
        prompts = scores.prompts[valid]
        x, y = (_centred(half[valid], prompts) for half in halves)
        for k, product in enumerate((x * y, (x * x + y * y) / 2)):
            sums[:, k] += np.bincount(prompts, product, len(sums))
    return sums


def correlation(sums: Array) -> Array:
    """r = sum(x y) / sum((x x + y y) / 2), that of halves that may be exchanged; a negative one counts as 0.

    NaN where no score differs from its prompt's mean.
    """
    product, square = sums[..., 0], sums[..., 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Array = np.where(square > 1e-9, np.maximum(product / square, 0.0), np.nan)
    return found


def stepped(r: float, times: float) -> float:
    """Spearman and Brown's formula (1910): the reliability of so many times as many judgments as r is of."""
    return times * r / (1 + (times - 1) * r)


def intraclass_correlation(scores: Scores) -> float | None:
    """ICC(1, 1) of responses within prompts, Shrout and Fleiss 1979, for unequal numbers of scores; null: undefined.

    t / (t + e) with the variance e of a response's scores and the variance t of the responses of a prompt, both by
    analysis of variance; a negative t counts as 0.
    """
    n = (~np.isnan(scores.values)).sum(axis=1)
    n, values, prompts = n[n > 0], scores.values[n > 0], scores.prompts[n > 0]
    means = _means(values)
    error, freedom = np.nansum((values - means[:, None]) ** 2), (n - 1).sum()
    per_prompt = np.maximum(np.bincount(prompts, n), 1)
    middle = (np.bincount(prompts, n * means) / per_prompt)[prompts]
    between = (n * (means - middle) ** 2).sum()
    responses = len(n) - len(np.unique(prompts))
    weight = n.sum() - (np.bincount(prompts, n * n) / per_prompt).sum()
    if not freedom or weight <= 0:
        return None
    e = error / freedom
    t = max((between - responses * e) / weight, 0.0)
    return float(t / (t + e)) if t + e > 0 else None


def reliability_rows(
    scores: Scores, kept: dict[int, pl.DataFrame], rounds: int, seed: int, beyond: Sequence[int] = (2, 4)
) -> list[dict[str, Any]]:
    """A row for each number of judgments: 1, 2, ... up to all that were asked, then so many times as many.

    kept: of each number up to all, `pairs_kept`. reliability: of the mean of so many judgments, null where nothing
    differs; its interval and that of `pair` (chosen and rejected are the same) are bootstraps over prompts. fewer:
    responses with fewer readable judgments. METHOD §6.
    """
    n = scores.values.shape[1]
    sums = split_half(scores, seed)
    half, r = n // 2, float(correlation(sums.sum(axis=0)))
    low, high = _interval(sums, rounds, seed)
    single = intraclass_correlation(scores)
    readable = (~np.isnan(scores.values)).sum(axis=1)
    rows = []
    for k in [*range(1, n + 1), *(times * n for times in beyond)]:
        row: dict[str, Any] = {"judgments": k}
        for name, value in (("reliability", r), ("ci_low", low), ("ci_high", high)):
            row[name] = None if value is None or math.isnan(value) else stepped(value, k / half)
        row["icc"] = None if single is None else stepped(single, k)
        row |= dict.fromkeys(("pair", "pair_low", "pair_high", "chosen", "rejected", "fewer"))
        if k <= n:
            same = kept[k].with_columns(pair=pl.col("chosen") & pl.col("rejected"))
            row |= {name: same[name].mean() for name in ("pair", "chosen", "rejected")}
            row["pair_low"], row["pair_high"] = bootstrap_mean(same["pair"].cast(pl.Float64).to_numpy(), rounds, seed)
            row["fewer"] = int((readable < k).sum())
        rows.append(row)
    return rows


def pairs_kept(pairs: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """A row per pair, in the order of prompt_id: do the other outcomes pair the same chosen and the same rejected.

    pairs: outcomes by all judgments; other: by fewer. Of outcomes without a pair nothing is the same.
    """
    have = pl.col("reason").is_null()
    found = pairs.filter(have).join(other.filter(have), on="prompt_id", how="left").sort("prompt_id")
    same = {side: pl.col(f"{side}_id").eq_missing(pl.col(f"{side}_id_right")) for side in ("chosen", "rejected")}
    return found.select(**same)


def judgments_for(reliability: float, rows: Sequence[dict[str, Any]]) -> int | None:
    """The smallest number of judgments of this reliability by Spearman and Brown's formula; null: no number is."""
    one: float | None = rows[0]["reliability"]
    if not one:
        return None
    return max(1, math.ceil(reliability / (1 - reliability) * (1 - one) / one - 1e-9))


def _interval(sums: Array, rounds: int, seed: int) -> Interval:
    counted = sums[sums[:, 1] > 1e-9]
    if len(counted) < 2:
        return None, None
    drawn = correlation(bootstrap_sums(counted, rounds, seed))
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return None, None
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def _means(values: Array) -> Array:
    """The mean of the readable scores of each row; NaN where there is none."""
    n = (~np.isnan(values)).sum(axis=1)
    found: Array = np.divide(np.nansum(values, axis=1), n, out=np.full(len(values), np.nan), where=n > 0)
    return found


def _centred(values: Array, prompts: NDArray[np.int64]) -> Array:
    """Values less the mean of their prompt."""
    size = prompts[-1] + 1 if len(prompts) else 0
    means = np.bincount(prompts, values, size) / np.maximum(np.bincount(prompts, minlength=size), 1)
    found: Array = values - means[prompts]
    return found
