"""Meta-rewards: cases for pencil and paper, then properties, then independent solvers on the same likelihood."""

import choix
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.sparse.csgraph import connected_components
from scipy.special import log_expit

from metareward.errors import UserError
from metareward.params import MIN_RIDGE
from metareward.selection import elo
from metareward.selection.elo import fit, fit_elo, has_finite_maximiser, position_weights
from metareward.tables import TABLES, check_table, empty_table

WINNERS = {">": "a", "<": "b", "=": None}


def battles(**verdicts: str) -> pl.DataFrame:
    """A `battles` table. Each response's battles in words: "x>y" shows x first and x wins, "x<y": y wins, "x=y": none.

    Judgment x of response r is called rx, as ids are unique over all tables.
    """
    rows = [
        {"response_id": response, "judgment_a": response + a, "judgment_b": response + b, "winner": WINNERS[sign]}
        for response, words in verdicts.items()
        for a, sign, b in words.split()
    ]
    frame = pl.DataFrame(
        rows, schema=dict.fromkeys(("response_id", "judgment_a", "judgment_b", "winner"), pl.String)
    ).with_columns(
        prompt_id="prompt of " + pl.col("response_id"),
        battle_id=pl.col("judgment_a") + pl.col("judgment_b"),
        meta_judgment=pl.lit("text"),
        invalid_reason=pl.lit(None, pl.String),
        n_tokens=pl.lit(1, pl.Int64),
        thought=pl.lit(None, pl.String),
        finish_reason=pl.lit("stop"),
    )
    return check_table(frame, "battles")


def elos(table: pl.DataFrame) -> dict[str, float]:
    return dict(table.select("judgment_id", "elo").iter_rows())


# Pencil and paper


def test_position_weights_take_from_the_favoured_position():
    """6 wins of the first position, 2 of the second, 2 undecided: a win of the first counts 2/8, of the second 6/8."""
    assert position_weights(pl.Series(["a"] * 6 + ["b"] * 2 + [None] * 2)) == (0.25, 0.75)


def test_position_weights_without_a_decided_battle():
    assert position_weights(pl.Series([None, None], dtype=pl.String)) == (0.5, 0.5)


def test_two_judgments_have_a_closed_form():
    """x beats y with weight 3, y beats x with weight 1: sigma(d) = 3/4, so d = ln 3, half of it on either side."""
    wins = np.array([[[0.0, 3.0], [1.0, 0.0]]])
    scores, ridge, converged = fit(wins, np.ones((1, 2), dtype=bool), 0.01)
    assert scores[0] == pytest.approx([np.log(3) / 2, -np.log(3) / 2], abs=1e-12)
    assert (ridge[0], converged[0]) == (0, True)


def test_a_win_against_the_position_bias_counts_for_more():
    """10 wins of the first position, 3 of the second: w1 = 3/13, w2 = 10/13.

    In r, x beats y and y beats z from the first position, z beats x from the second: a circle with weights
    w1, w1, w2. At the maximum each win pulls equally, w1 sigma(y - x) = w1 sigma(z - y) = w2 sigma(x - z); with
    x - y = y - z = d and u = exp(d) that is 3 (1 + u^2) = 10 u^2 (1 + u), which u = 1/2 solves: d = -ln 2.
    """
    table = fit_elo(battles(r="x>y y>z x<z", s="x>y y>x x>z z>x y>z z>y", t="x>y y>x", u="x<y y<x"), 0.01)
    r = table.filter(pl.col("response_id") == "r")
    assert elos(r) == pytest.approx({"rx": -np.log(2), "ry": 0, "rz": np.log(2)}, abs=1e-9)
    assert r["wins_first"].to_list() == [1, 1, 0]
    assert r["wins_second"].to_list() == [0, 0, 1]
    assert r["n_battles"].to_list() == [2, 2, 2]
    assert r["ridge"].to_list() == [0, 0, 0]
    assert elos(table)["sx"] == pytest.approx(0)


def test_ridge_keeps_a_clean_sweep_finite():
    """x wins both battles, B = w1 + w2 = 1; with elos e and -e the slope sigma(-2e) equals the pull of the ridge."""
    table = fit_elo(battles(r="x>y y<x"), 0.01)
    x = elos(table)["rx"]
    assert 1 / (1 + np.exp(2 * x)) == pytest.approx(0.01 * x, abs=1e-12)
    assert elos(table)["ry"] == -x
    assert table["ridge"].to_list() == [0.01, 0.01]


def test_a_leading_group_needs_the_ridge_though_nobody_wins_or_loses_all():
    """w and x beat each other, y and z too, but w and x never lose to y or z: no finite maximum."""
    table = fit_elo(battles(r="w>x x>w y>z z>y w>y w>z x>y x>z", s="x<y y<x"), 0.01)
    assert table["ridge"].to_list()[:4] == [0.01] * 4
    w, x, y, z = table["elo"].to_list()[:4]
    assert (w, y) == pytest.approx((x, z))
    assert w > y + 1


def test_no_decided_battle_leaves_all_equal():
    table = fit_elo(battles(r="x=y y=x", s="x>y y>x"), 0.01)
    r = table.filter(pl.col("response_id") == "r")
    assert r["elo"].to_list() == [0, 0]
    assert r["ridge"].to_list() == [0.01, 0.01]
    assert r["n_battles"].to_list() == [2, 2]
    assert r["wins_first"].to_list() == r["wins_second"].to_list() == [0, 0]


def test_the_ridge_is_not_used_where_it_is_not_needed():
    """A second response's ridge must not leak into the first: x and y exchange wins as in the closed form."""
    circle = {"r": "x>y y>z x<z"}
    alone = elos(fit_elo(battles(**circle, s="x>y x<z"), 0.01))
    other = elos(fit_elo(battles(**circle, s="x>y x<z"), 0.5))
    assert alone["rx"] == other["rx"]
    assert alone["sx"] != other["sx"]


def test_a_position_that_always_wins_says_nothing():
    """All wins are the first position's: w1 = 0, so none of them counts, and all judgments are equal."""
    assert fit_elo(battles(r="x>y y>z x>z z>x"), 0.01)["elo"].to_list() == [0, 0, 0]


def test_ids_need_not_be_sorted_by_response():
    """Real ids are hashes: those of one response lie among those of others."""
    names = {"rx": "1", "sx": "2", "ry": "3", "sy": "4", "rz": "5"}
    table = battles(r="x>y y>z x<z", s="x>y y<x")
    renamed = table.with_columns(pl.col("judgment_a", "judgment_b").replace(names))
    found = elos(fit_elo(renamed, 0.01))
    assert found == {names[name]: value for name, value in elos(fit_elo(table, 0.01)).items()}


def test_parts_of_an_iteration_share_its_position_weights():
    """r alone has w1 = 1/4 (three of its four wins fell to the first position), s alone 1/2; together w1 is 1/3."""
    whole = battles(r="x>y y>x x>z x<w", s="x>y x<z")
    assert position_weights(whole["winner"]) == (2 / 6, 4 / 6)
    parts = [fit_elo(whole.filter(response_id=name), 0.01, position_weights(whole["winner"])) for name in "rs"]
    assert elos(pl.concat(parts)) == pytest.approx(elos(fit_elo(whole, 0.01)), abs=1e-9)
    assert elos(fit_elo(whole.filter(response_id="r"), 0.01)) != pytest.approx(elos(parts[0]), abs=0.01)


def test_no_battles_give_no_elo():
    table = fit_elo(empty_table("battles"), 0.01)
    assert table.is_empty()
    check_table(table, "elo")


@pytest.mark.parametrize("ridge", [0.0, 1e-7, -1.0, float("nan")])
def test_a_ridge_that_is_too_small_is_refused(ridge):
    with pytest.raises(UserError, match=r"ridge is .*; it must be at least 1e-06.*elo\.ridge"):
        fit_elo(battles(r="x>y"), ridge)


def test_the_smallest_ridge_is_accepted():
    table = fit_elo(battles(r="x>y y<x"), MIN_RIDGE)
    x = elos(table)["rx"]
    assert 1 / (1 + np.exp(2 * x)) == pytest.approx(1e-6 * x, rel=1e-6)


def test_a_fit_that_does_not_converge_names_its_response(monkeypatch):
    """With two steps only, the even pair is done (its start is the maximum), the other two are not."""
    monkeypatch.setattr(elo, "_MAX_STEPS", 2)
    with pytest.raises(UserError, match="fit of 2 responses did not converge in 2 steps, the first is s"):
        fit_elo(battles(r="x>y y>x", s="x>y y<x", t="x>y y>z z<x"), 0.01)


def test_elos_are_a_table():
    table = fit_elo(battles(s="x>y y>z x<z", r="x>y"), 0.01)
    assert table.schema == pl.Schema(TABLES["elo"].columns)
    assert table["judgment_id"].to_list() == ["rx", "ry", "sx", "sy", "sz"]


# Properties

SIZES = st.integers(2, 8)


@st.composite
def matrices(draw: st.DrawFn, count: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Battle matrices of mixed sizes, padded; weights and missing battles vary."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    sizes = [draw(SIZES) for _ in range(count)]
    present = np.arange(max(sizes)) < np.array(sizes)[:, None]
    density = draw(st.sampled_from([0.1, 0.3, 0.6, 1.0]))
    weights = draw(st.sampled_from([(0.5, 0.5), (0.3, 0.7), (0.001, 0.999)]))
    wins = np.zeros((count, max(sizes), max(sizes)))
    for i, size in enumerate(sizes):
        for m in range(size):
            for n in range(size):
                if m != n and generator.random() < density:
                    if generator.random() < 0.65:
                        wins[i, m, n] += weights[0]
                    else:
                        wins[i, n, m] += weights[1]
    return wins, present


def random_battles(generator: np.random.Generator, size: int, skill: float = 1.0) -> dict[str, str]:
    """Complete battles of two responses, size judgments each, with a first position that wins more often."""
    words: dict[str, str] = {}
    for response in "rs":
        strengths = generator.normal(0, skill, size)
        verdicts = []
        for m in range(size):
            for n in range(size):
                first_wins = generator.random() < 1 / (1 + np.exp(strengths[n] - strengths[m] - 0.75))
                if m != n:
                    verdicts.append(f"{chr(97 + m)}{'>' if first_wins else '<'}{chr(97 + n)}")
        words[response] = " ".join(verdicts)
    return words


@given(matrices())
def test_elos_sum_to_zero_and_absent_ones_are_zero(case):
    wins, present = case
    scores, _, converged = fit(wins, present, 0.01)
    assert converged.all()
    assert np.abs(scores.sum(1)).max() < 1e-9
    assert not scores[~present].any()


@given(matrices())
def test_a_matrix_is_fitted_as_if_it_were_alone(case):
    wins, present = case
    together, ridge, _ = fit(wins, present, 0.01)
    for i, here in enumerate(present):
        size = here.sum()
        alone, ridge_alone, _ = fit(wins[i : i + 1, :size, :size], here[None, :size], 0.01)
        assert together[i, :size] == pytest.approx(alone[0], abs=1e-9)
        assert ridge[i] == ridge_alone[0]


@given(matrices(), st.randoms(use_true_random=False))
def test_relabelled_judgments_keep_their_elos(case, random):
    wins, present = case
    order = list(range(wins.shape[1]))
    random.shuffle(order)
    scores, _, _ = fit(wins, present, 0.01)
    relabelled, _, _ = fit(wins[:, order][:, :, order], present[:, order], 0.01)
    assert relabelled == pytest.approx(scores[:, order], abs=1e-9)


@given(SIZES, st.integers(0, 2**32))
def test_elo_follows_the_order_of_wins_in_complete_symmetric_tournaments(size, seed):
    """Where everybody plays everybody equally often, more wins mean a higher Elo, equal wins an equal one."""
    wins = np.random.default_rng(seed).binomial(2, 0.5, (size, size)).astype(float)
    wins = np.triu(wins, 1) + np.tril(2 - wins.T, -1)
    scores, _, _ = fit(wins[None], np.ones((1, size), dtype=bool), 0.01)
    for m in range(size):
        for n in range(size):
            if wins[m].sum() > wins[n].sum():
                assert scores[0, m] > scores[0, n] + elo.TIE
            elif wins[m].sum() == wins[n].sum():
                assert scores[0, m] == pytest.approx(scores[0, n], abs=elo.TIE / 10)


@given(SIZES, st.integers(0, 2**32))
def test_the_order_of_rows_changes_nothing(size, seed):
    generator = np.random.default_rng(seed)
    table = battles(**random_battles(generator, size))
    shuffled = table.sample(fraction=1, shuffle=True, seed=seed % 2**31)
    assert fit_elo(table, 0.01).equals(fit_elo(shuffled, 0.01))


@given(SIZES, st.integers(0, 2**32))
def test_swapping_the_positions_everywhere_changes_no_elo(size, seed):
    """Swapped positions swap the weights too, so B stays as it is; only the counts of wins change places."""
    table = battles(**random_battles(np.random.default_rng(seed), size))
    swapped = table.with_columns(
        judgment_a="judgment_b",
        judgment_b="judgment_a",
        winner=pl.col("winner").replace({"a": "b", "b": "a"}),
    )
    before, after = fit_elo(table, 0.01), fit_elo(swapped, 0.01)
    assert before["elo"].equals(after["elo"])
    assert before["wins_first"].equals(after["wins_second"].alias("wins_first"))
    assert before["wins_second"].equals(after["wins_first"].alias("wins_second"))


def test_extreme_weights_converge():
    """One win of the second position in a million: the circle it closes is finite, but far apart."""
    weights = 1e-6, 1 - 1e-6
    wins = np.zeros((2, 11, 11))
    wins[0, range(10), range(1, 11)], wins[0, 10, 0] = weights[1], weights[0]
    wins[1, range(10), range(1, 11)] = weights[1]  # an open chain: ridge
    scores, ridge, converged = fit(wins, np.ones((2, 11), dtype=bool), MIN_RIDGE)
    assert converged.all()
    assert ridge.tolist() == [0, MIN_RIDGE]
    assert (np.diff(scores, axis=1) < 0).all()


# Independent solvers


@given(matrices())
def test_strong_connectivity_as_by_scipy(case):
    wins, present = case
    for i, here in enumerate(present):
        size = here.sum()
        n_components, _ = connected_components(wins[i, :size, :size], directed=True, connection="strong")
        assert has_finite_maximiser(wins, present)[i] == (n_components == 1)


def test_a_long_chain_is_followed_to_its_end():
    """A ring of 37 judgments is strongly connected only if chains of 36 wins are found; without one win it is not."""
    ring = np.roll(np.eye(37), 1, axis=1)
    open_chain = ring.copy()
    open_chain[36, 0] = 0
    assert has_finite_maximiser(np.stack([ring, open_chain]), np.ones((2, 37), dtype=bool)).tolist() == [True, False]


def simulated(count: int, size: int, seed: int) -> np.ndarray:
    """Unit wins of complete tournaments in both orders."""
    generator = np.random.default_rng(seed)
    strengths = generator.normal(0, 1, (count, size))
    chance = 1 / (1 + np.exp(strengths[:, None, :] - strengths[:, :, None] - 0.75))
    first_wins = (generator.random((count, size, size)) < chance) & ~np.eye(size, dtype=bool)
    second_wins = ~first_wins & ~np.eye(size, dtype=bool)
    return first_wins.astype(float) + second_wins.swapaxes(1, 2)


@pytest.mark.parametrize("size", [3, 11])
def test_elos_as_by_scipy(size):
    """The same likelihood, penalty where needed, by a general minimiser."""
    wins = simulated(60, size, seed=size) * np.random.default_rng(0).choice([0.32, 0.68], (60, size, size))
    scores, ridge, _ = fit(wins, np.ones((60, size), dtype=bool), 0.01)
    assert set(ridge) == {0, 0.01}
    for i in range(60):

        def loss(x: np.ndarray, i: int = i) -> float:
            return -(wins[i] * log_expit(x[:, None] - x[None, :])).sum() + ridge[i] * (x @ x) / 2

        found = minimize(loss, np.zeros(size), method="BFGS", options={"gtol": 1e-9}).x
        found = minimize(loss, found, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-15}).x
        assert scores[i] == pytest.approx(found - found.mean(), abs=1e-6)


@pytest.mark.parametrize("size", [3, 11])
def test_elos_as_by_choix(size):
    """choix penalises alpha |x|^2, twice our ridge."""
    wins = simulated(20, size, seed=size)
    scores, ridge, _ = fit(wins, np.ones((20, size), dtype=bool), 0.01)
    for i in range(20):
        data = [(m, n) for m in range(size) for n in range(size) for _ in range(int(wins[i, m, n]))]
        found = choix.opt_pairwise(size, data, alpha=ridge[i] / 2, tol=1e-10)
        assert scores[i] == pytest.approx(found - found.mean(), abs=1e-6)
