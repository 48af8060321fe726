"""docs/queries.md on a tiny run: every query, at HEAD, on an experiment, over three at once; views against Polars."""

import json
import sys
from pathlib import Path

import polars as pl
import pytest

from metareward.explore.lineage import find, rows_of_prompt
from metareward.explore.trace import trace_tree
from metareward.query import connect
from metareward.tables import read_table

from pipeline import ROOT, Clone

sys.path.insert(0, str(ROOT / "docs"))
import queries

PAGE = (ROOT / "docs/queries.md").read_text()
RHOS = {"low": 0.1, "half": 0.5, "high": 0.9}
MANY = [query for query in queries.QUERIES if query.options]  # they compare revisions: of one there is no row
# the tiny model's judgments are all of one length ("Earned." and a score), and those that differ may all lose
MAY_BE_EMPTY = [query for query in queries.QUERIES if "longer_won" in query.sql or "higher_won" in query.sql]


@pytest.fixture(scope="module")
def run(tiny_run, tmp_path_factory) -> Path:
    """A clone with a finished run of the tiny profile, committed, and three experiments that pair otherwise."""
    clone = Clone.copy_of(tiny_run, tmp_path_factory.mktemp("queries"))
    clone.commit("a run")
    for name, rho in RHOS.items():
        clone.run(f"dvc exp run --name {name} --set-param rho={rho} actor-pairs@m1 actor-pairs@m2")
    clone.run("git checkout --quiet . && dvc checkout")
    return clone.folder


@pytest.fixture(scope="module")
def everything(run):
    with connect(["workspace", "HEAD", *RHOS], folder=run) as connection:
        yield connection


def rows(connection, query):
    return connection.execute(query).fetchall()


@pytest.mark.parametrize("query", queries.QUERIES, ids=lambda query: query.question)
def test_the_page_shows_each_query_in_at_most_five_lines(query):
    assert len(query.sql.strip().splitlines()) <= 5
    assert max(len(line) for line in query.sql.splitlines()) <= 120
    assert f"### {query.question}\n\n```sh\n{queries.command(query)}\n```" in PAGE


def test_there_are_a_dozen():
    assert len(queries.QUERIES) >= 12


def test_each_query_is_one_command(run):
    """In a shell, as the page gives it."""
    clone = Clone.at(run)
    for query in queries.QUERIES:
        options = "--rev low,high" if query.options else ""
        printed = json.loads(clone.run(queries.command(query, f"--json {options}".strip())))
        assert printed or query in MAY_BE_EMPTY, query.question


@pytest.mark.parametrize("revs", [[], ["HEAD"], ["half"], list(RHOS)], ids=["workspace", "HEAD", "one", "three"])
def test_the_same_text_works_on_one_revision_and_on_many(run, revs):
    with connect(revs, folder=run) as connection:
        for query in queries.QUERIES:
            found = connection.execute(query.sql)
            names = [column[0] for column in found.description]
            table = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
            assert table or query in MAY_BE_EMPTY or (query in MANY and len(revs) < 2), query.question
            if query not in [*MANY, *MAY_BE_EMPTY] and "LIMIT" not in query.sql:
                assert {row["rev"] for row in table} == (set(revs) or {"workspace"}), query.question


def test_a_commit_without_changes_has_the_rows_of_the_workspace(everything):
    for view in ("pairs", "prompt_outcomes", "battle_outcomes", "battle_sides", "drift"):
        of_each = [
            sorted(rows(everything, f"SELECT * EXCLUDE (rev) FROM {view} WHERE rev = '{rev}'"), key=str)
            for rev in ("workspace", "HEAD")
        ]
        assert of_each[0] == of_each[1]
        assert of_each[0]


def test_another_rho_chooses_others(everything):
    query = next(query for query in MANY if "other_chosen" in query.sql).sql
    differing = "SELECT max(other_chosen) FROM ({}) WHERE '{}' IN (rev, other) AND 'workspace' IN (rev, other)"
    assert rows(everything, differing.format(query, "HEAD")) == [(0,)]
    assert rows(everything, differing.format(query, "high"))[0][0] > 0


@pytest.mark.parametrize("name", ["m1", "m2"])
def test_pairs_and_outcomes_are_those_of_the_tables(run, everything, name):
    folder = run / "data/iterations" / name
    prompts = read_table(folder / "prompts.parquet", "prompts")
    for role, value in (("actor", "score"), ("judge", "elo")):
        pairs = read_table(folder / f"{role}_pairs.parquet", f"{role}_pairs")
        expected = pairs.join(prompts, on="prompt_id").select(
            "pair_id", "prompt", "chosen", "rejected_id", f"chosen_{value}", f"rejected_{value}", "margin",
            difference=pl.col("chosen_chars") - pl.col("rejected_chars"),
        )  # fmt: skip
        where = f"rev = 'workspace' AND iteration = '{name}' AND role = '{role}'"
        columns = "pair_id, prompt, chosen, rejected_id, chosen_value, rejected_value, margin, chars_difference"
        assert sorted(rows(everything, f"SELECT {columns} FROM pairs WHERE {where}")) == sorted(expected.iter_rows())
        none = read_table(folder / f"{role}_no_pairs.parquet", "no_pairs")
        outcomes = dict(none.select("prompt_id", "reason").iter_rows()) | dict.fromkeys(pairs["prompt_id"], "pair")
        found = rows(everything, f"SELECT prompt_id, outcome FROM prompt_outcomes WHERE {where}")
        assert sorted(found) == sorted(outcomes.items())
        assert sorted(outcomes) == sorted(prompts["prompt_id"])


def test_battles_are_those_of_the_tables(run, everything):
    folder = run / "data/iterations/m1"
    judgments = read_table(folder / "judgments.parquet", "judgments").select("judgment_id", "score")
    battles = read_table(folder / "battles.parquet", "battles")
    both = battles.join(judgments, left_on="judgment_a", right_on="judgment_id").join(
        judgments, left_on="judgment_b", right_on="judgment_id", suffix="_b"
    )
    ahead = (pl.col("score") - pl.col("score_b")).round(6)
    higher = pl.when(ahead != 0).then((ahead > 0) == (pl.col("winner") == "a"))
    expected = both.select("battle_id", difference=ahead, higher=higher).iter_rows()
    where = "rev = 'workspace' AND iteration = 'm1'"
    found = rows(everything, f"SELECT battle_id, difference, higher_score_won FROM battle_outcomes WHERE {where}")
    assert sorted(found, key=str) == sorted(expected, key=str)
    wins = rows(
        everything,
        f"""SELECT judgment_id, count_if(position = 'first' AND won), count_if(position = 'second' AND won), count(*)
        FROM battle_sides WHERE {where} GROUP BY ALL""",
    )
    elo = read_table(folder / "elo.parquet", "elo")
    assert sorted(wins) == sorted(elo.select("judgment_id", "wins_first", "wins_second", "n_battles").iter_rows())


DRIFT = {
    "judgments": ("judge", "judgments"),
    "readable": ("judge", "readable"),
    "score_mean": ("judge", "score_mean"),
    "score_variance": ("judge", "score_variance"),
    "score_at_maximum": ("judge", "score_at_maximum"),
    "judgment_chars": ("judge", "judgment_chars"),
    "response_chars": ("data", "response_chars"),
    "chosen_chars": ("actor_pairs", "chosen_chars"),
    "rejected_chars": ("actor_pairs", "rejected_chars"),
    "chosen_judgment_chars": ("judge_pairs", "chosen_chars"),
    "rejected_judgment_chars": ("judge_pairs", "rejected_chars"),
}


def test_drift_is_what_the_metrics_say(run, everything):
    metrics = json.loads((run / "metrics.json").read_text())
    found = everything.execute("SELECT * FROM drift WHERE rev = 'workspace'")
    names = [column[0] for column in found.description]
    drift = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    assert sorted(row["iteration"] for row in drift) == ["m1", "m2"]
    for row in drift:
        for column, (group, metric) in DRIFT.items():
            expected = metrics[group].get(metric, {}).get(row["iteration"])
            assert row[column] == (pytest.approx(expected, abs=1e-4) if expected is not None else None), column


def test_a_trace_of_every_row_reaches_its_prompt_and_finds_nothing_broken(everything):
    """Pairs of all revisions; battles, judgments and responses of the workspace."""
    ids = rows(everything, "SELECT DISTINCT rev, iteration, pair_id, prompt_id FROM pairs")
    for kind, view in (("battle", "battles"), ("judgment", "judgments"), ("response", "responses")):
        some = f"SELECT rev, iteration, {kind}_id, prompt_id FROM {view} WHERE rev = 'workspace' LIMIT 5"
        ids += rows(everything, some)
    assert len(ids) > 30
    for rev, iteration, id_, prompt_id in ids:
        place, others = find(everything, id_, rev, iteration)
        tree = trace_tree(rows_of_prompt(everything, place, others))
        below = [tree]
        for node in below:
            below += node.children
        assert (tree.kind, tree.id) == ("prompt", prompt_id)
        assert tree.text
        assert [node.id for node in below if node.asked] == [id_]
        assert not any(node.broken for node in below)
        assert not any("would be chosen over" in why for node in below for why in node.why)


def test_the_command_traces_an_id_of_an_experiment(run):
    clone = Clone.at(run)
    with connect(["high"], folder=run) as connection:
        ((pair,),) = rows(connection, "SELECT min(pair_id) FROM pairs WHERE rev = 'high' AND role = 'actor'")
    printed = clone.run(f"metareward trace {pair} --rev high")
    assert f"actor pair {pair}" in printed
    assert "rho 0.9 (rho)" in printed
    assert "error: no id of workspace begins with 'zzz'" in clone.run("metareward trace zzz", returncode=2)
