"""Selection: cases for pencil and paper, then properties, then the same rules as plain loops (naive_selection.py)."""

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import naive_selection as naive
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metareward.ids import content_id
from metareward.selection.actor_pairs import select_actor_pairs
from metareward.selection.battles import choose_responses, list_battles
from metareward.selection.elo import fit_elo
from metareward.selection.judge_pairs import select_judge_pairs
from metareward.selection.pairs import REASONS
from metareward.selection.parts import in_parts
from metareward.selection.scores import mark_duplicates, score_statistics
from metareward.tables import TABLES, check_table, empty_table

Judgment = float | None | tuple[float | None, str]


class Iteration(NamedTuple):
    prompts: pl.DataFrame
    responses: pl.DataFrame
    judgments: pl.DataFrame
    scores: pl.DataFrame


def iteration(**prompts: list[tuple[str | None, list[Judgment]]]) -> Iteration:
    """Tables of an iteration: per prompt a list of (response, its judgments).

    A judgment is its score (null: invalid), or score and text; without a text it gets one of its own. A response that
    ends in "-" was cut. Ids tell the origin: response 0 of prompt p is p0, its judgment 2 is p0.2.
    """
    responses, judgments = [], []
    for prompt_id, written in prompts.items():
        for sample, (response, scores) in enumerate(written):
            response_id = f"{prompt_id}{sample}"
            finish = "too_long" if response is None else "length" if response.endswith("-") else "stop"
            n_chars = len(response or "")
            responses.append((prompt_id, response_id, sample, response, None, n_chars, n_chars, finish, None))
            for place, given_score in enumerate(scores):
                score, text = (
                    given_score if isinstance(given_score, tuple) else (given_score, f"{place}: {given_score}")
                )
                reason = "no_score" if score is None else None
                ids = (prompt_id, response_id, f"{response_id}.{place}", place)
                judgments.append((*ids, text, None, score, None, reason, len(text), len(text), "stop"))
    prompt_rows = {
        "prompt_id": list(prompts),
        "prompt": [f"prompt {p}" for p in prompts],
        "source": ["x"] * len(prompts),
    }
    marked = mark_duplicates(table(responses, "responses"))
    judged = table(judgments, "judgments")
    return Iteration(table(prompt_rows, "prompts"), marked, judged, score_statistics(marked, judged))


def table(rows: object, name: str) -> pl.DataFrame:
    return check_table(pl.DataFrame(rows, schema=dict(TABLES[name].columns), orient="row"), name)


def actor(tables: Iteration, rho: float, cap: int | None = None) -> naive.Pairs:
    """Per prompt the ids of chosen and rejected response, or the reason."""
    return outcome(*select_actor_pairs(tables.prompts, tables.responses, tables.scores, rho, cap))


def outcome(pairs: pl.DataFrame, no_pairs: pl.DataFrame) -> naive.Pairs:
    found = {row["prompt_id"]: (row["chosen_id"], row["rejected_id"]) for row in pairs.iter_rows(named=True)}
    reasons = dict(no_pairs.select("prompt_id", "reason").iter_rows())
    assert not found.keys() & reasons.keys()
    return {**found, **reasons}


def text(n_chars: int, letter: str = "x") -> str:
    return letter * n_chars


# Dedup


def test_identical_responses_of_a_prompt_point_to_the_first():
    tables = iteration(
        p=[("same", []), ("other", []), ("same", []), (None, []), ("same", []), (None, []), ("", []), ("", [])],
        q=[("same", [])],
    )
    marked = dict(tables.responses.select("response_id", "duplicate_of").iter_rows())
    assert marked == {"p2": "p0", "p4": "p0", "p7": "p6"} | dict.fromkeys(["p0", "p1", "p3", "p5", "p6", "q0"])


def test_duplicates_are_found_whatever_the_order_of_rows():
    tables = iteration(p=[("same", []), ("same", []), ("same", [])])
    assert mark_duplicates(tables.responses.reverse()).equals(tables.responses)


# Score statistics


def test_mean_and_variance_of_the_valid_scores():
    """Of 4, 2, an invalid one and 3: mean 9/3, variance (1 + 1 + 0)/3."""
    tables = iteration(p=[("a", [4, 2, None, 3]), ("b", [None]), ("c", []), ("c", [5]), (None, [])])
    rows = tables.scores.select("response_id", "mean", "variance", "n_valid", "n_distinct").rows()
    assert rows == [
        ("p0", 3, pytest.approx(2 / 3, abs=1e-15), 3, 3),
        ("p1", None, None, 0, 0),
        ("p2", None, None, 0, 0),
    ]


def test_expected_scores_count_in_the_mean_and_sampled_ones_in_the_variance():
    tables = iteration(p=[("a", [4, 2, None]), ("b", [1, 1])])
    expected = pl.Series("expected", [3.25, 3.75, None, None, None])
    rows = score_statistics(tables.responses, tables.judgments.with_columns(expected)).select("mean", "variance")
    assert rows.rows() == [(3.5, 1.0), (1.0, 0.0)]


def test_only_texts_of_valid_judgments_are_told_apart():
    tables = iteration(p=[("a", [(3, "same"), (3, "same"), (None, "other"), (3, "third")])])
    assert tables.scores["n_distinct"].to_list() == [2]


def test_decimal_scores_are_averaged_exactly():
    """4.1 + 4.2 + 4.3 is 12.600000000000001 or 12.6 in floating point, by the order of the rows."""
    tables = iteration(p=[("a", [4.1, 4.2, 4.3]), ("b", [4.3, 4.2, 4.1]), ("c", [4.2]), ("d", [0.1, 0.1, 0.1])])
    means, variances = tables.scores["mean"].to_list(), tables.scores["variance"].to_list()
    assert means == [4.2, 4.2, 4.2, 0.1]
    assert variances[0] == variances[1] == pytest.approx(0.02 / 3)
    assert variances[2:] == [0, 0]


def test_a_third_of_a_point_is_a_score_too():
    tables = iteration(p=[("a", [1 / 3, 2 / 3])])
    assert tables.scores["mean"].item() == pytest.approx(0.5, abs=1e-6)


# Actor pairs

FIVE = iteration(
    p=[
        (text(900), [5]),  # p0: the best
        (text(300), [4]),  # p1: good and short
        (text(500), [3]),
        (text(800), [2]),  # p3: poor and long
        (text(100), [1]),  # p4: the worst
    ]
)


@pytest.mark.parametrize(
    ("rho", "chosen", "rejected"),
    [
        (0.0, "p0", "p4"),  # [5, 5] and [1, 1]
        (0.24, "p0", "p4"),  # [4.04, 5] and [1, 1.96]
        (0.25, "p1", "p3"),  # [4, 5] and [1, 2]: the bounds belong to the ranges
        (0.49, "p1", "p3"),  # [3.04, 5] and [1, 2.96]
    ],
)
def test_length_control(rho, chosen, rejected):
    """Smax = 5, Smin = 1: the ranges are 4 rho wide."""
    assert actor(FIVE, rho) == {"p": (chosen, rejected)}


def test_wide_ranges_may_give_no_pair():
    """rho = 1: both ranges hold all five; the shortest, p4, scores 1 and the longest, p0, scores 5."""
    assert actor(FIVE, 1.0) == {"p": "chosen_not_better"}


def test_a_response_cannot_be_preferred_to_itself():
    """rho = 0.5: both ranges hold the middle one, which is the shortest and the longest there."""
    tables = iteration(p=[(text(900), [5]), (text(500), [3]), (text(100), [1])])
    assert actor(tables, 0.5) == {"p": "chosen_not_better"}


def test_equal_scores_after_length_control_give_no_pair():
    """rho = 0.5: p1 (the shortest of [3, 5]) and p2 (the longest of [1, 3]) both score 3."""
    tables = iteration(p=[(text(500), [5]), (text(100), [3]), (text(900), [3]), (text(400), [1])])
    assert actor(tables, 0.5) == {"p": "chosen_not_better"}


def test_a_score_on_the_bound_is_in_range_despite_rounding():
    """Of scores 3, 0.9 and 0, 0.9 is the lower bound for rho = 0.7, though (1 - 0.7) * 3 is 0.9000000000000001."""
    tables = iteration(p=[(text(900), [3]), (text(100), [0.9]), (text(200), [0])])
    assert (1 - 0.7) * 3 > 0.9
    assert actor(tables, 0.7) == {"p": ("p1", "p2")}
    assert actor(tables, 0.69) == {"p": ("p0", "p2")}


def test_ties_in_length():
    """All equally long: the better score is chosen, the worse rejected, then the lower sample."""
    same = [text(10, letter) for letter in "abcdef"]
    tables = iteration(p=list(zip(same, [[4], [5], [5], [1], [1], [2]], strict=True)))
    assert actor(tables, 0.3) == {"p": ("p1", "p3")}


@pytest.mark.parametrize(("cap", "found"), [(None, ("p0", "p4")), (900, ("p0", "p4")), (899, "chosen_too_long")])
def test_cap_on_the_chosen_response(cap, found):
    assert actor(FIVE, 0.0, cap) == {"p": found}


def test_every_prompt_without_an_actor_pair_has_a_reason():
    tables = iteration(
        none=[],
        one=[("a", [1, 2])],
        twins=[("a", [1]), ("a", [])],
        unwritten=[("a", [1]), (None, [])],
        unscored=[("a", [1]), ("b", [None]), ("c", [])],
        silent=[("a", [None]), ("b", [])],
        equal=[("a", [4.1, 4.2, 4.3]), ("bb", [4.2])],
        pair=[("a", [1]), ("b", [1.01])],
    )
    _, no_pairs = select_actor_pairs(tables.prompts, tables.responses, tables.scores, 0.0, None)
    assert set(no_pairs["role"]) == {"actor"}
    assert actor(tables, 0.0) == {
        "none": "too_few_responses",
        "one": "too_few_responses",
        "twins": "too_few_responses",
        "unwritten": "too_few_responses",
        "unscored": "too_few_scored",
        "silent": "too_few_scored",
        "equal": "equal_scores",
        "pair": ("pair1", "pair0"),
    }


def test_an_actor_pair_carries_its_texts_and_numbers():
    pairs, no_pairs = select_actor_pairs(FIVE.prompts, FIVE.responses, FIVE.scores, 0.25, None)
    assert no_pairs.is_empty()
    assert pairs.row(0, named=True) == {
        "prompt_id": "p",
        "pair_id": content_id("pair", "p1", "p3"),
        "messages": [{"role": "user", "content": "prompt p"}],
        "chosen": text(300),
        "rejected": text(800),
        "chosen_id": "p1",
        "rejected_id": "p3",
        "chosen_finish": "stop",
        "rejected_finish": "stop",
        "chosen_score": 4,
        "rejected_score": 2,
        "chosen_chars": 300,
        "rejected_chars": 800,
        "margin": 2,
    }


# The response whose judgments go into battle


def choice(tables: Iteration, seed: int = 0) -> dict[str, tuple[str | None, float | None, int, str | None]]:
    rows = choose_responses(tables.prompts, tables.scores, seed).iter_rows()
    return {prompt_id: tuple(values) for prompt_id, *values in rows}


def test_the_most_varied_scores_are_chosen():
    """Variances 0, 4 and 1; in q the higher variance belongs to a response with one valid judgment less."""
    tables = iteration(p=[("a", [3, 3]), ("b", [1, 5]), ("c", [2, 4])], q=[("a", [1, 2, 1]), ("b", [1, None, 2])])
    assert choice(tables) == {"p": ("p1", 4, 1, None), "q": ("q1", 0.25, 1, None)}


def test_two_valid_and_different_judgments_are_needed():
    tables = iteration(
        none=[],
        single=[("a", [5]), ("b", [1, None])],
        copies=[("a", [(3, "same"), (3, "same")])],
        calm=[("a", [(3, "one"), (3, "other")]), ("b", [(3, "same"), (3, "same")])],
    )
    nothing = (None, None, 0, "no_eligible_response")
    assert choice(tables) == {"none": nothing, "single": nothing, "copies": nothing, "calm": ("calm0", 0, 1, None)}


def test_equal_variances_are_drawn_by_the_seed():
    """Three of four share the variance 0.01, though their scores differ; 300 seeds draw each about 100 times."""
    tables = iteration(p=[("a", [4.1, 4.3]), ("b", [2.9, 3.1]), ("c", [0.3, 0.1]), ("d", [2, 2.1])])
    drawn = [choice(tables, seed)["p"] for seed in range(300)]
    assert {(round(variance, 9), n_tied) for _, variance, n_tied, _ in drawn} == {(0.01, 3)}
    counts = {name: [row[0] for row in drawn].count(name) for name in ("p0", "p1", "p2")}
    assert sum(counts.values()) == 300
    assert min(counts.values()) > 70
    assert choice(tables, 7) == choice(tables, 7)


# Battles


def test_battles_are_all_ordered_pairs_of_valid_judgments():
    tables = iteration(p=[("a", [1, None, 5, 3]), ("b", [2, 2])], q=[("a", [1])])
    listed = list_battles(choose_responses(tables.prompts, tables.scores, 0), tables.judgments)
    assert listed.columns == ["prompt_id", "response_id", "judgment_a", "judgment_b"]
    assert listed.rows() == [
        ("p", "p0", "p0.0", "p0.2"),
        ("p", "p0", "p0.0", "p0.3"),
        ("p", "p0", "p0.2", "p0.0"),
        ("p", "p0", "p0.2", "p0.3"),
        ("p", "p0", "p0.3", "p0.0"),
        ("p", "p0", "p0.3", "p0.2"),
    ]


# Judge pairs


@pytest.mark.parametrize(("chosen", "rejected"), [("good-", "bad"), ("good", "bad-"), ("good-", "bad-")])
def test_an_actor_pair_says_how_its_texts_ended(chosen, rejected):
    tables = iteration(p=[(rejected, [1]), (chosen, [5])])
    pair = select_actor_pairs(tables.prompts, tables.responses, tables.scores, 0.0, None)[0].row(0, named=True)
    for role, text in (("chosen", chosen), ("rejected", rejected)):
        assert (pair[role], pair[f"{role}_finish"]) == (text, "length" if text.endswith("-") else "stop")


def judge(scores: list[Judgment], elos: list[float], limit: int | None = None, wins: int = 1) -> tuple[str, str] | str:
    """The judge pair of a prompt with one response, from its judgments and their Elos."""
    tables = iteration(p=[("a", scores)])
    choices = choose_responses(tables.prompts, tables.scores, 0)
    rated = elo_table("p0", elos, wins)
    return outcome(*select_judge_pairs(tables.prompts, choices, tables.judgments, rated, ASKED, limit))["p"]


def elo_table(response_id: str, elos: list[float], wins: int = 1) -> pl.DataFrame:
    rows = [(response_id[0], response_id, f"{response_id}.{k}", elo, wins, 0, 2, 0.0) for k, elo in enumerate(elos)]
    return table(rows, "elo")


ASKED = pl.DataFrame(
    {"prompt_id": ["p"], "messages": [[{"role": "user", "content": "Judge this."}]]},
    schema={"prompt_id": pl.String, "messages": TABLES["judge_pairs"].columns["messages"]},
)
SHORT, MIDDLE, LONG = (1, text(5)), (3, text(10)), (5, text(20))


@pytest.mark.parametrize(
    ("scores", "elos", "found"),
    [
        ([SHORT, MIDDLE, LONG], [0.5, -1, 0.5], ("p0.0", "p0.1")),  # a tie at the top: the shorter is chosen
        ([LONG, MIDDLE, SHORT], [0.5, -1, 0.5], ("p0.2", "p0.1")),
        ([SHORT, LONG, MIDDLE], [-0.5, -0.5, 1], ("p0.2", "p0.1")),  # at the bottom: the longer is rejected
        ([LONG, SHORT, MIDDLE], [-0.5, -0.5, 1], ("p0.2", "p0.0")),
        ([SHORT, MIDDLE, LONG], [0.5 - 9e-7, -1, 0.5], ("p0.0", "p0.1")),  # equal within 1e-6
        ([SHORT, MIDDLE, LONG], [0.5 - 2e-6, -1, 0.5], ("p0.2", "p0.1")),
        ([SHORT, MIDDLE, LONG], [-1, 2, -1 + 9e-7], ("p0.1", "p0.2")),
        ([SHORT, MIDDLE, LONG], [-1, 2, -1 + 2e-6], ("p0.1", "p0.0")),
        ([(1, "aa"), (2, "bb"), (3, "cc"), (4, "dd")], [1, 1, -1, -1], ("p0.0", "p0.2")),  # then the lower sample
        ([LONG, SHORT, MIDDLE], [1e-6, 0, -1], ("p0.1", "p0.2")),  # the bound itself is a tie
        ([SHORT, LONG, MIDDLE], [0, 1e-6, 1], ("p0.2", "p0.1")),
        ([SHORT, LONG], [1e-6, 0], "equal_elo"),
        ([SHORT, (2, "same"), (2, "same")], [0, 1, -1], "identical_judgments"),
    ],
)
def test_highest_and_lowest_elo(scores, elos, found):
    assert judge(scores, elos) == found


@pytest.mark.parametrize(
    ("limit", "found"), [(None, ("p0.1", "p0.0")), (20, ("p0.1", "p0.0")), (19, "chosen_judgment_too_long")]
)
def test_limit_on_the_chosen_judgment(limit, found):
    assert judge([SHORT, LONG], [-1, 1], limit) == found


def test_undecided_battles_give_no_judge_pair():
    assert judge([SHORT, LONG], [0, 0], wins=0) == "no_decided_battle"
    assert judge([SHORT, LONG], []) == "no_decided_battle"


def test_no_choice_gives_no_judge_pair():
    assert judge([SHORT], []) == "no_eligible_response"


def test_an_iteration_that_trains_no_judge():
    tables = iteration(p=[("a", [SHORT, LONG])], q=[])
    pairs, no_pairs = select_judge_pairs(
        tables.prompts, empty_table("choices"), tables.judgments, empty_table("elo"), ASKED, None
    )
    assert pairs.is_empty()
    assert no_pairs.rows() == [("p", "judge", "judge_not_trained"), ("q", "judge", "judge_not_trained")]


def test_a_judge_pair_carries_its_texts_and_numbers():
    tables = iteration(p=[("a", [SHORT, LONG, MIDDLE])])
    choices = choose_responses(tables.prompts, tables.scores, 0)
    rated = elo_table("p0", [-1.5, 2, -0.5])
    pairs, no_pairs = select_judge_pairs(tables.prompts, choices, tables.judgments, rated, ASKED, None)
    assert no_pairs.is_empty()
    assert pairs.row(0, named=True) == {
        "prompt_id": "p",
        "pair_id": content_id("pair", "p0.1", "p0.0"),
        "messages": [{"role": "user", "content": "Judge this."}],
        "chosen": text(20),
        "rejected": text(5),
        "chosen_id": "p0.1",
        "rejected_id": "p0.0",
        "chosen_finish": "stop",
        "rejected_finish": "stop",
        "response_id": "p0",
        "chosen_elo": 2,
        "rejected_elo": -1.5,
        "chosen_chars": 20,
        "rejected_chars": 5,
        "margin": 3.5,
    }


def test_every_reason_of_the_list_is_one_that_occurs():
    """The reasons named in this file are those of REASONS: none without a test, none without an explanation."""
    source = Path(__file__).read_text()
    assert all(f'"{reason}"' in source for reason in REASONS)


# Properties over whole iterations

POINTS = [0, 1, 2, 3, 4, 5, 4.5, 4.75, 4.9, 0.1, 0.3, 3.3, None]


# Every function works prompt by prompt, so that an example of many prompts is as many cases at the cost of one.
few_examples = settings(max_examples=20)


@st.composite
def iterations(draw: st.DrawFn) -> Iteration:
    """Up to 16 prompts of up to 6 responses of up to 4 judgments; duplicates, invalid and identical ones among them."""
    n_prompts = draw(st.integers(0, 16))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    prompts: dict[str, list[tuple[str | None, list[Judgment]]]] = {}
    for prompt_id in "abcdefghijklmnop"[:n_prompts]:
        points = generator.choice(np.array(POINTS, dtype=object), generator.integers(1, 7))
        written: list[tuple[str | None, list[Judgment]]] = []
        for _ in range(generator.integers(0, 7)):
            response = text(int(generator.integers(0, 6)), "xyz"[generator.integers(3)])
            scores = generator.choice(points, generator.integers(0, 5)).tolist()
            texts = [f"{score} " + text(int(generator.integers(0, 3))) for score in scores]
            is_written = generator.random() < 0.95
            written.append((response, list(zip(scores, texts, strict=True))) if is_written else (None, []))
        prompts[prompt_id] = written
    made = iteration(**prompts)
    kept = made.judgments.join(made.responses.filter(pl.col("duplicate_of").is_null()), on="response_id", how="semi")
    return made._replace(judgments=kept)


RHOS = st.integers(0, 20).map(lambda twentieths: Fraction(twentieths, 20)) | st.integers(0, 100).map(
    lambda percent: Fraction(percent, 100)
)
LIMITS = st.none() | st.integers(0, 8)


def asked(choices: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame | pl.LazyFrame:
    """Judge prompts, of which the tests need none of the words."""
    return choices.select("prompt_id", messages=pl.concat_list(pl.struct(role=pl.lit("user"), content="prompt_id")))


def judged(tables: Iteration, seed: int, limit: int | None) -> tuple[pl.DataFrame, ...]:
    """Choices, battles with drawn verdicts, Elo, judge pairs and prompts without."""
    choices = choose_responses(tables.prompts, tables.scores, seed)
    listed = list_battles(choices, tables.judgments)
    # a verdict is drawn by the judgments' ids, so that it does not depend on the order of rows
    draws = [int(content_id(seed, a, b), 16) % 5 for a, b in listed.select("judgment_a", "judgment_b").iter_rows()]
    winners = pl.Series("winner", [[None, "a", "a", "a", "b"][draw] for draw in draws], dtype=pl.String)
    rated = fit_elo(listed.with_columns(winners), 0.01)
    pairs = select_judge_pairs(tables.prompts, choices, tables.judgments, rated, asked(choices), limit)
    return choices, listed, rated, *pairs


@few_examples
@given(iterations())
def test_statistics_as_by_plain_loops(tables):
    assert dict(tables.responses.select("response_id", "duplicate_of").iter_rows()) == naive.duplicates(
        tables.responses
    )
    expected = naive.statistics(tables.responses, tables.judgments)
    found = {row["response_id"]: row for row in tables.scores.iter_rows(named=True)}
    assert found.keys() == expected.keys()
    for response_id, row in expected.items():
        for name in ("prompt_id", "sample", "n_valid", "n_distinct"):
            assert found[response_id][name] == row[name]
        assert found[response_id]["n_chars"] == row["chars"]
        assert found[response_id]["mean"] == (None if row["mean"] is None else float(row["mean"]))
        assert found[response_id]["variance"] == (None if row["mean"] is None else float(row["variance"]))


@few_examples
@given(iterations(), RHOS, LIMITS)
def test_actor_pairs_as_by_plain_loops(tables, rho, cap):
    expected = naive.actor_pairs(tables.prompts, tables.responses, tables.judgments, rho, cap)
    assert actor(tables, float(rho), cap) == expected


@few_examples
@given(iterations(), st.integers(0, 5), LIMITS)
def test_judge_pairs_as_by_plain_loops(tables, seed, limit):
    choices, listed, rated, *pairs = judged(tables, seed, limit)
    expected = naive.most_varied(tables.prompts, tables.responses, tables.judgments)
    for prompt_id, response_id, _, n_tied, reason in choices.iter_rows():
        assert n_tied == len(expected[prompt_id])
        assert response_id in expected[prompt_id] if n_tied else reason == "no_eligible_response"
    found = set(listed.select("judgment_a", "judgment_b").iter_rows())
    assert found == naive.battles(choices, tables.judgments)
    assert outcome(*pairs) == naive.judge_pairs(tables.prompts, choices, tables.judgments, rated, limit)


@few_examples
@given(iterations(), RHOS, LIMITS)
def test_every_prompt_has_a_pair_or_a_reason_and_pairs_prefer_the_better(tables, rho, limit):
    pairs, no_pairs = select_actor_pairs(tables.prompts, tables.responses, tables.scores, float(rho), limit)
    *_, judge_pairs, no_judge_pairs = judged(tables, 0, limit)
    for with_pair, without in ((pairs, no_pairs), (judge_pairs, no_judge_pairs)):
        assert sorted([*with_pair["prompt_id"], *without["prompt_id"]]) == tables.prompts["prompt_id"].to_list()
        assert set(without["reason"]) <= set(REASONS)
    assert (pairs["chosen_score"] > pairs["rejected_score"]).all()
    assert (judge_pairs["chosen_elo"] > judge_pairs["rejected_elo"] + 1e-6).all()


@few_examples
@given(iterations())
def test_without_length_control_the_extreme_scores_are_paired(tables):
    pairs, _ = select_actor_pairs(tables.prompts, tables.responses, tables.scores, 0.0, None)
    extremes = tables.scores.group_by("prompt_id").agg(best=pl.col("mean").max(), worst=pl.col("mean").min())
    rows = pairs.join(extremes, on="prompt_id")
    assert rows["chosen_score"].equals(rows["best"].alias("chosen_score"))
    assert rows["rejected_score"].equals(rows["worst"].alias("rejected_score"))


@few_examples
@given(iterations(), RHOS, RHOS)
def test_growing_rho_shortens_the_chosen_and_lengthens_the_rejected(tables, one, other):
    low, high = (
        select_actor_pairs(tables.prompts, tables.responses, tables.scores, float(rho), None)[0]
        for rho in sorted((one, other))
    )
    both = low.join(high, on="prompt_id", suffix="_high")
    assert (both["chosen_chars_high"] <= both["chosen_chars"]).all()
    assert (both["rejected_chars_high"] >= both["rejected_chars"]).all()


@few_examples
@given(iterations(), RHOS, LIMITS, st.integers(0, 1000))
def test_the_order_of_rows_changes_nothing(tables, rho, limit, seed):
    shuffled = Iteration(*(frame.sample(fraction=1, shuffle=True, seed=seed) for frame in tables))
    assert mark_duplicates(shuffled.responses).equals(tables.responses)
    scores = score_statistics(tables.responses, tables.judgments)
    assert score_statistics(shuffled.responses, shuffled.judgments).equals(scores)
    before = select_actor_pairs(tables.prompts, tables.responses, tables.scores, float(rho), limit)
    after = select_actor_pairs(shuffled.prompts, shuffled.responses, shuffled.scores, float(rho), limit)
    for frame, again in zip(
        (*before, *judged(tables, seed, limit)), (*after, *judged(shuffled, seed, limit)), strict=True
    ):
        assert again.equals(frame)


@few_examples
@given(iterations(), st.integers(0, 5))
def test_relabelled_judgments_are_paired_alike(tables, seed):
    """Other ids for the judgments: the same choices, and with the same verdicts the same texts in the same pairs."""
    choices, listed, rated, pairs, no_pairs = judged(tables, seed, None)
    new = pl.col("judgment_id").map_elements(lambda name: content_id(name), return_dtype=pl.String)
    renamed = tables.judgments.with_columns(new)
    assert choose_responses(tables.prompts, score_statistics(tables.responses, renamed), seed).equals(choices)
    relisted = list_battles(choices, renamed)
    assert relisted.height == listed.height
    assert relisted.equals(relisted.sort(relisted.columns))  # whose ids lie in another order than their responses'
    again, without = select_judge_pairs(tables.prompts, choices, renamed, rated.with_columns(new), asked(choices), None)
    changed = ["pair_id", "chosen_id", "rejected_id"]
    assert again.drop(changed).equals(pairs.drop(changed))
    assert without.equals(no_pairs)


# Tables larger than memory


@few_examples
@given(iterations(), st.integers(1, 20))
def test_parts_give_the_rows_of_the_whole(tmp_path_factory, tables, n_prompts):
    choices, _, rated, *judge_pairs = judged(tables, 1, 4)
    folder = tmp_path_factory.mktemp("parts")
    frames = tables._asdict() | {"choices": choices, "elo": rated}
    for name, frame in frames.items():
        frame.write_parquet(folder / f"{name}.parquet", row_group_size=2)
    lazy = {name: pl.scan_parquet(folder / f"{name}.parquet") for name in frames}
    whole = [
        mark_duplicates(tables.responses),
        tables.scores,
        *select_actor_pairs(tables.prompts, tables.responses, tables.scores, 0.3, 4),
        *judge_pairs,
    ]
    parts = [
        [
            mark_duplicates(part["responses"]),
            score_statistics(part["responses"], part["judgments"]),
            *select_actor_pairs(part["prompts"], part["responses"], part["scores"], 0.3, 4),
            *select_judge_pairs(
                part["prompts"], part["choices"], part["judgments"], part["elo"], asked(part["choices"]), 4
            ),
        ]
        for part in in_parts(lazy, n_prompts)
    ]
    assert len(parts) == -(-tables.prompts.height // n_prompts)
    for place, frame in enumerate(whole):
        assert pl.concat([frame.clear(), *(part[place] for part in parts)]).equals(frame)
