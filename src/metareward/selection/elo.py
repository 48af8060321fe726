"""Meta-rewards: the Elo of each judgment by maximum likelihood, thousands of small battle matrices at once.

Scale: natural logarithm. A judgment whose Elo lies d above another's wins against it with probability
1 / (1 + exp(-d)): 0.73 for d = 1, 0.95 for d = 3. Times 400 / ln 10 = 173.7 gives points as in chess.
Origin: the Elos of a response's judgments sum to 0; those of different responses can't be compared.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from metareward.errors import UserError
from metareward.params import MIN_RIDGE
from metareward.tables import TABLES, check_table

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

TIE = 1e-6  # Elos that differ by no more are equal
_MAX_STEPS = 200
_SMALL_STEP = 1e-8  # the last Newton step; convergence is quadratic, so what remains is far below TIE


def position_weights(winners: pl.Series) -> tuple[float, float]:
    """Weights (w1, w2) that take the meta-judge's position bias out of the battle matrix.

    winners: "a", "b" or null, one per battle of a whole iteration ("a" stands first).
    w1 = wins of b / decided battles, w2 = wins of a / decided battles; (0.5, 0.5) if none is decided.
    METHOD §4.3; Wu et al. 2024, section 2.2.
    """
    wins_first, wins_second = int((winners == "a").sum()), int((winners == "b").sum())
    decided = wins_first + wins_second
    return (wins_second / decided, wins_first / decided) if decided else (0.5, 0.5)


def fit_elo(
    battles: pl.DataFrame | pl.LazyFrame, ridge: float, weights: tuple[float, float] | None = None
) -> pl.DataFrame:
    """The `elo` table: one row per judgment that took part in a battle of the iteration.

    battles: the `battles` table of an iteration, or all that some of its responses fought.
    ridge: lambda >= MIN_RIDGE of the penalty lambda |elo|^2 / 2, applied to the responses whose likelihood has no
    finite maximiser (a judgment that won all its battles, say) and recorded in the column `ridge`; 0 elsewhere.
    weights: the position weights of the whole iteration; None: battles is all of it.
    A response without a decided battle gets Elos of 0. wins_first and wins_second count wins in either position,
    n_battles all battles of the judgment, decided or not. METHOD §4.3-4.5.

    Raises UserError when ridge is too small, or names the responses whose fit does not converge.
    """
    if not ridge >= MIN_RIDGE:
        raise UserError(
            f"ridge is {ridge}; it must be at least {MIN_RIDGE}, or rounding decides between judgments. "
            "The default is 0.01. (params.yaml: elo.ridge)"
        )
    response = ["prompt_id", "response_id"]
    battles = battles.lazy().select(*response, "judgment_a", "judgment_b", "winner").collect()  # not the texts
    sides = [battles.select(*response, "winner", judgment_id=f"judgment_{side}", side=pl.lit(side)) for side in "ab"]
    won = pl.col("winner") == pl.col("side")
    judgments = (
        pl.concat(sides)
        .group_by(*response, "judgment_id")
        .agg(
            wins_first=(won & (pl.col("side") == "a")).sum().cast(pl.Int64),
            wins_second=(won & (pl.col("side") == "b")).sum().cast(pl.Int64),
            n_battles=pl.len().cast(pl.Int64),
        )
        .sort(*response, "judgment_id")
        .with_columns(
            matrix=pl.struct(response).rle_id().cast(pl.Int64),
            place=pl.int_range(pl.len()).over(response),
        )
    )
    matrix, place = judgments["matrix"].to_numpy(), judgments["place"].to_numpy()
    size = place.max(initial=-1) + 1
    present = np.zeros((matrix.max(initial=-1) + 1, size), dtype=np.bool_)
    present[matrix, place] = True
    weights = weights or position_weights(battles["winner"])
    elo, penalty, converged = fit(_battle_matrices(battles, judgments, present, weights), present, ridge)
    if not converged.all():
        failed = judgments.filter(pl.Series(~converged[matrix]))["response_id"].unique(maintain_order=True)
        raise UserError(
            f"the Elo fit of {len(failed)} responses did not converge in {_MAX_STEPS} steps, the first is "
            f"{failed[0]}. Hint: a larger ridge makes it easier. (params.yaml: elo.ridge)"
        )
    rated = judgments.with_columns(elo=pl.Series(elo[matrix, place]), ridge=pl.Series(penalty[matrix]))
    return check_table(rated.select(TABLES["elo"].columns.keys()), "elo")


def fit(wins: Array, present: Mask, ridge: float) -> tuple[Array, Array, Mask]:
    """Elo by maximum likelihood for M battle matrices of at most N judgments, all at once.

    wins: [M, N, N], the weight with which judgment m beat judgment n (B of METHOD §4.4), 0 on the diagonal.
    present: [M, N], which judgments exist; a smaller matrix is padded with zeros.
    Returns elo [M, N] (sums to 0; 0 where absent), the ridge applied [M] (0 where none is needed) and converged [M].

    Maximises sum_mn wins[m, n] log sigma(elo_m - elo_n) - ridge |elo|^2 / 2 by Newton's method. A full Newton step
    may overshoot; one shortened by log(1 + d) / d, d the largest difference that it makes between two judgments,
    always climbs and becomes a full one at the top (Sun and Tran-Dinh 2019, Generalized self-concordant functions,
    case nu = 2), so no line search is needed.
    """
    penalty = np.where(has_finite_maximiser(wins, present), 0.0, ridge)
    games = wins + wins.swapaxes(1, 2)
    net_wins = wins.sum(2) - wins.sum(1)
    # Elos may be shifted together, which makes the Hessian singular; ones on the present block take that freedom
    # away without a trace, since the gradient sums to 0. Absent judgments get a 1 on the diagonal and stay at 0.
    fixed = np.einsum("im,in->imn", present, present).astype(np.float64)
    diagonal = np.arange(wins.shape[1])
    fixed[:, diagonal, diagonal] += penalty[:, None] + ~present

    elo = np.zeros(present.shape)
    running = np.arange(len(wins))
    for _ in range(_MAX_STEPS):
        if not len(running):
            break
        current, played = elo[running], games[running]
        slope = np.tanh((current[:, :, None] - current[:, None, :]) / 2)  # 2 sigma - 1, without overflow
        gradient = (net_wins[running] - (played * slope).sum(2)) / 2 - penalty[running, None] * current
        curvature = played * (1 - slope * slope) / 4
        hessian = fixed[running] - curvature
        hessian[:, diagonal, diagonal] += curvature.sum(2)
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        spread = np.ptp(step, axis=1)
        elo[running] += step * (np.log1p(spread) / np.maximum(spread, np.finfo(np.float64).tiny))[:, None]
        running = running[~(spread <= _SMALL_STEP)]
    converged = np.ones(len(wins), dtype=np.bool_)
    converged[running] = False
    return elo, penalty, converged


def has_finite_maximiser(wins: Array, present: Mask) -> Mask:
    """[M]: whether the graph of wins is strongly connected, without which some Elos would run off to infinity.

    A chain of wins must lead from every present judgment to every other. It is not enough that nobody wins or
    loses everything: a group that beats all others and never loses to them runs off as well (Ford 1957).
    """
    size = wins.shape[1]
    reach = ((wins > 0) | np.eye(size, dtype=np.bool_)).astype(np.float32)
    for _ in range(size.bit_length()):  # each squaring doubles the length of the chains
        reach = (reach @ reach > 0).astype(np.float32)
    absent = ~(present[:, :, None] & present[:, None, :])
    return np.asarray(((reach > 0) | absent).all(axis=(1, 2)), dtype=np.bool_)


def _battle_matrices(
    battles: pl.DataFrame, judgments: pl.DataFrame, present: Mask, weights: tuple[float, float]
) -> Array:
    """B [M, N, N]: B[m, n] = w1 [m first beat n] + w2 [m second beat n] (METHOD §4.4)."""
    where = judgments.select("judgment_id", "matrix", "place")
    decided = (
        battles.filter(pl.col("winner").is_not_null())
        .join(where, left_on="judgment_a", right_on="judgment_id")
        .join(where, left_on="judgment_b", right_on="judgment_id", suffix="_b")
    )
    wins = np.zeros((*present.shape, present.shape[1]))
    w1, w2 = weights
    for winner, weight, winner_place, loser_place in (("a", w1, "place", "place_b"), ("b", w2, "place_b", "place")):
        rows = decided.filter(pl.col("winner") == winner)
        # an ordered pair fights once, so no place is named twice
        wins[rows["matrix"].to_numpy(), rows[winner_place].to_numpy(), rows[loser_place].to_numpy()] += weight
    return wins
