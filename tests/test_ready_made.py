"""The ready-made views on a run made by hand: each value checked by eye."""

import duckdb
import pytest

from metareward.query import connect
from metareward.query.ready_made import READY_MADE

from hand_made_run import save_run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with connect(folder=save_run(tmp_path_factory.mktemp("made"))) as connection:
        yield connection


@pytest.fixture
def empty(tmp_path):
    (tmp_path / "dvc.yaml").touch()
    with connect(folder=tmp_path) as connection:
        yield connection


def rows(connection, query):
    return connection.execute(query).fetchall()


@pytest.mark.parametrize("name", READY_MADE)
def test_every_column_is_described_in_order_and_begins_with_where_it_comes_from(made, empty, name):
    for connection in (made, empty):
        found = [row[0] for row in rows(connection, f"DESCRIBE {name}")]
        assert found == list(READY_MADE[name].columns)
        assert found[:2] == ["rev", "iteration"]
    assert rows(empty, f"SELECT count(*) FROM {name}") == [(0,)]


def test_pairs_of_both_roles_stand_in_one_view(made):
    columns = "role, iteration, prompt, response_id, chosen, rejected, chosen_id, rejected_id, rejected_finish"
    assert rows(made, f"SELECT {columns} FROM pairs ORDER BY role, iteration") == [
        ("actor", "m1", "Why is it dark?", None, "two", "a longer one!", "bb1.1", "bb1.3", "length"),
        ("actor", "m2", "Count.", None, "1 2 3", "1 2 3 4 5", "bb4.0", "bb4.1", "stop"),
        ("judge", "m1", "Why is it dark?", "bb1.4", "... Score: 4", ".. Score: 2", "cc1.4.2", "cc1.4.1", "stop"),
    ]
    numbers = "chosen_value, rejected_value, margin, chosen_chars, rejected_chars, chars_difference"
    assert rows(made, f"SELECT {numbers} FROM pairs WHERE role = 'actor' ORDER BY iteration") == [
        (3, 1, 2, 3, 13, -10),
        (5, 1, 4, 5, 9, -4),
    ]
    elos = dict(rows(made, "SELECT judgment_id, elo FROM elo"))
    expected = (elos["cc1.4.2"], elos["cc1.4.1"], elos["cc1.4.2"] - elos["cc1.4.1"], 12, 11, 1)
    assert rows(made, f"SELECT {numbers} FROM pairs WHERE role = 'judge'") == [expected]


def test_every_prompt_has_one_outcome_in_each_role(made):
    found = rows(made, "SELECT iteration, role, prompt_id, outcome, reason, pair_id IS NULL FROM prompt_outcomes")
    assert sorted(found, key=str) == sorted(
        [
            ("m1", "actor", "aa1", "pair", None, False),
            ("m1", "actor", "aa2", "equal_scores", "equal_scores", True),
            ("m1", "actor", "aa3", "too_few_responses", "too_few_responses", True),
            ("m1", "judge", "aa1", "pair", None, False),
            ("m1", "judge", "aa2", "no_decided_battle", "no_decided_battle", True),
            ("m1", "judge", "aa3", "no_eligible_response", "no_eligible_response", True),
            ("m2", "actor", "aa4", "pair", None, False),
            ("m2", "judge", "aa4", "judge_not_trained", "judge_not_trained", True),
        ],
        key=str,
    )


def test_prompts_whose_pairs_are_not_selected_yet_are_there_without_an_outcome(tmp_path):
    folder = save_run(tmp_path)
    for file in ("actor_pairs", "actor_no_pairs", "judge_pairs", "judge_no_pairs"):
        (folder / f"data/iterations/m2/{file}.parquet").unlink()
    with connect(folder=folder) as connection:
        found = rows(connection, "SELECT role, prompt_id, outcome FROM prompt_outcomes WHERE iteration = 'm2'")
    assert sorted(found) == [("actor", "aa4", None), ("judge", "aa4", None)]


def test_a_battle_has_scores_texts_and_who_won(made):
    columns = "battle_id, score_a, score_b, difference, winner_id, first_won, higher_score_won"
    found = rows(made, f"SELECT {columns} FROM battle_outcomes WHERE response_id = 'bb1.4' ORDER BY battle_id")
    assert found == [
        ("dd1.4.0.1", 0, 2, -2, "cc1.4.0", True, False),
        ("dd1.4.0.2", 0, 4, -4, "cc1.4.2", False, True),
        ("dd1.4.1.0", 2, 0, 2, None, None, None),  # nobody won
        ("dd1.4.1.2", 2, 4, -2, "cc1.4.2", False, True),
        ("dd1.4.2.0", 4, 0, 4, "cc1.4.2", True, True),
        ("dd1.4.2.1", 4, 2, 2, "cc1.4.2", True, True),
    ]
    texts = rows(made, "SELECT text_a, text_b, chars_a, chars_b FROM battle_outcomes WHERE battle_id = 'dd1.4.0.2'")
    assert texts == [(". Score: 0", "... Score: 4", 10, 12)]


def test_equal_scores_have_no_higher_one_though_somebody_wins(made):
    """4.9 - 3.9 is a little more than 1, which says nothing."""
    battles = "SELECT 'w' AS rev, 'm1' AS iteration, 'p' AS prompt_id, 'r' AS response_id, 'b' AS battle_id, "
    battles += "'j' AS judgment_a, 'k' AS judgment_b, 'a' AS winner, NULL AS invalid_reason, '' AS meta_judgment"
    judgments = "SELECT 'w' AS rev, 'm1' AS iteration, 'p' AS prompt_id, 'r' AS response_id, 0 AS n_chars, "
    judgments += "unnest(['j', 'k']) AS judgment_id, '' AS judgment, "
    judgments += "unnest([4.9::DOUBLE - 3.9::DOUBLE, 1.0]) AS score"
    query = f"WITH battles AS ({battles}), judgments AS ({judgments}) {READY_MADE['battle_outcomes'].sql}"
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT difference, higher_score_won, first_won FROM ({query})").fetchall()
    assert found == [(0, None, True)]


def test_each_battle_has_two_sides(made):
    query = "SELECT judgment_id, opponent_id, position, won FROM battle_sides WHERE battle_id = '{}' ORDER BY position"
    assert rows(made, query.format("dd1.4.0.2")) == [
        ("cc1.4.0", "cc1.4.2", "first", False),
        ("cc1.4.2", "cc1.4.0", "second", True),
    ]
    assert [row[3] for row in rows(made, query.format("dd1.4.1.0"))] == [None, None]
    wins = "SELECT count(*), count_if(position = 'first' AND won), count_if(position = 'second' AND won) "
    wins += "FROM battle_sides WHERE judgment_id = 'cc1.4.2'"
    assert rows(made, wins) == [(4, 2, 2)]


def test_drift_by_hand(made):
    found = made.execute("SELECT * FROM drift ORDER BY iteration")
    names = [column[0] for column in found.description]
    first, second = (dict(zip(names, row, strict=True)) for row in found.fetchall())
    # m1: 23 of 27 readable: 4 4 4, 3 3 3, 0 0, 1 1 1, 0 2 4, six times 3, 5 5 5
    scores = [4] * 3 + [3] * 3 + [0] * 2 + [1] * 3 + [0, 2, 4] + [3] * 6 + [5] * 3
    mean = sum(scores) / 23
    assert first["judgments"] == 27
    assert first["readable"] == pytest.approx(23 / 27)
    assert first["score_mean"] == pytest.approx(mean)
    assert first["score_variance"] == pytest.approx(sum((score - mean) ** 2 for score in scores) / 23)
    assert first["score_at_maximum"] == pytest.approx(3 / 23)
    lengths = [4, 3, 6, 13, 6, 3, 10, 3, 4, 5, 5]
    assert first["response_chars"] == pytest.approx(sum(lengths) / len(lengths))
    assert (first["chosen_chars"], first["rejected_chars"]) == (3, 13)
    assert (first["chosen_judgment_chars"], first["rejected_judgment_chars"]) == (12, 11)
    # m2: 5 5 5, 1 1 1
    assert (second["score_mean"], second["score_variance"], second["score_at_maximum"]) == (3, 4, 0.5)
    assert (second["chosen_judgment_chars"], second["rejected_judgment_chars"]) == (None, None)


def test_what_was_never_written_has_no_length():
    """Of a prompt that is too long, and of a response that is nothing but a thought."""
    ended = "unnest(['stop', 'too_long', 'stop']) AS finish_reason, unnest([10, 0, 0]) AS n_chars, "
    texts = f"SELECT 'w' AS rev, 'm1' AS iteration, {ended} unnest([NULL, NULL, 'hm']) AS thought"
    pairs = "SELECT 'w' AS rev, 'm1' AS iteration, 1 AS chosen_chars, 1 AS rejected_chars"
    tables = f"responses AS ({texts}), judgments AS (SELECT *, 5.0 AS score FROM responses), actor_pairs AS ({pairs})"
    query = f"WITH {tables}, judge_pairs AS ({pairs}) {READY_MADE['drift'].sql}"
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT response_chars, judgment_chars FROM ({query})").fetchall()
    assert found == [(10, 10)]


@pytest.mark.parametrize("name", READY_MADE)
def test_a_filter_reaches_the_files(made, name):
    """A paper-scale run has 50 million characters of judgments an iteration: the other iterations are not read."""
    plan = made.execute(f"EXPLAIN SELECT * FROM {name} WHERE iteration = 'm2'").fetchall()[0][1]
    assert "m1" not in plan
