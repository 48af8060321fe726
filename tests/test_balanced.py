"""rho: balanced: hand cases, then the smallest rho found by plain loops in exact fractions (naive_selection.py)."""

import random
from fractions import Fraction

import naive_selection as naive
import pytest
from test_select import FIVE, Iteration, iteration, text

from metareward.selection.actor_pairs import actor_candidates, balanced_rho, find_rho
from metareward.selection.parts import in_parts


def found(tables: Iteration, cap: int | None = None) -> tuple[float, bool]:
    return balanced_rho([actor_candidates(tables.prompts, tables.scores)], cap)


def test_the_first_rho_that_makes_chosen_no_longer():
    """Below 0.25 chosen has 900 characters and rejected 100; from there on 300 and 800."""
    assert found(FIVE) == (0.25, True)


def test_equal_lengths_are_balanced():
    assert found(iteration(p=[(text(50, "a"), [5]), (text(50, "b"), [1])])) == (0.0, True)


@pytest.mark.parametrize(("longer", "balanced"), [(499, True), (500, True), (501, False)])
def test_the_average_counts_not_each_prompt(longer, balanced):
    """p, from 0.25 on: 500 characters shorter; q, below 1: so many longer. At 1 neither gives a pair."""
    p = [(text(900), [5]), (text(300), [4]), (text(500), [3]), (text(800), [2]), (text(100), [1])]
    tables = iteration(p=p, q=[(text(100 + longer), [5]), (text(100), [1])])
    assert found(tables) == (0.25, balanced)


def test_where_none_balances_it_is_the_least_difference():
    """800 characters longer below 0.25, 500 from there to 0.75, then no pair."""
    tables = iteration(p=[(text(900), [5]), (text(600), [4]), (text(100), [1])])
    assert found(tables) == (0.25, False)
    control = find_rho("balanced", 0.4, [actor_candidates(tables.prompts, tables.scores)], None)
    assert control.rows() == [(0.25, "least_difference")]


def test_without_any_pair_it_is_zero():
    assert found(iteration(p=[("a", [3]), ("b", [3])], q=[("a", [None])])) == (0.0, False)


def test_a_pair_over_the_cap_does_not_count():
    """The pair with 900 characters is dropped; the one with 300, from 0.25 on, is balanced."""
    assert found(FIVE, cap=500) == (0.25, True)
    short = iteration(p=[(text(10, "a"), [5]), (text(10, "b"), [1])], q=[(text(900), [5]), (text(100), [1])])
    assert found(short, cap=500) == (0.0, True)


@pytest.mark.parametrize(
    ("run", "own", "row"),
    [
        ("schedule", 0.32, (0.32, "params")),
        ("schedule", "balanced", (0.25, "balanced")),
        ("balanced", 0.32, (0.25, "balanced")),
        (0.1, "balanced", (0.1, "params")),
    ],
)
def test_who_sets_rho(run, own, row):
    candidates = [actor_candidates(FIVE.prompts, FIVE.scores)]
    assert find_rho(run, own, candidates, None).rows() == [row]


def naive_rho(tables: Iteration, cap: int | None) -> tuple[float, bool]:
    chars = dict(tables.responses.select("response_id", "n_chars").iter_rows())
    differences = {}
    for k in range(101):
        outcome = naive.actor_pairs(tables.prompts, tables.responses, tables.judgments, Fraction(k, 100), cap)
        longer = [chars[pair[0]] - chars[pair[1]] for pair in outcome.values() if isinstance(pair, tuple)]
        if longer:
            differences[k / 100] = Fraction(sum(longer), len(longer))
            if differences[k / 100] <= 0:
                return k / 100, True
    return (min(differences, key=lambda rho: (differences[rho], rho)) if differences else 0.0), False


@pytest.mark.parametrize("seed", range(30))
def test_it_is_the_smallest_of_all_hundredths(seed):
    """Longer responses score higher, as judges have it; a cap lets pairs in as rho grows, so nothing is monotone."""
    draw = random.Random(seed)

    def response(letter: str) -> tuple[str, list[float | None]]:
        length = draw.randrange(1, 60)
        score = min(5, max(0, round(2 + length / 30 + draw.gauss(0, 1), 1)))
        return letter * length, [score, None, min(5, score + 0.5)]

    prompts = {f"p{k}": [response(letter) for letter in "abcde"[: draw.randrange(1, 6)]] for k in range(4)}
    tables, cap = iteration(**prompts), draw.choice([None, 30])
    whole = found(tables, cap)
    assert whole == naive_rho(tables, cap)
    scans = {"prompts": tables.prompts.lazy(), "scores": tables.scores.lazy()}
    assert balanced_rho((actor_candidates(**part) for part in in_parts(scans, 1)), cap) == whole
