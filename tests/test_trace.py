"""`metareward trace`: the lineage of any id, why rows were chosen, broken tables, hostile texts."""

import json
import re
from dataclasses import replace

import polars as pl
import pytest
import yaml

from metareward.cli.trace import visible
from metareward.errors import UserError
from metareward.explore.lineage import VIEWS, find, rows_of_prompt
from metareward.explore.trace import trace_tree
from metareward.query import connect

from hand_made_run import save_run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with connect(folder=save_run(tmp_path_factory.mktemp("made"))) as connection:
        yield connection


def traced(connection, id_, **where):
    place, others = find(connection, id_, "workspace", **where)
    return trace_tree(rows_of_prompt(connection, place, others))


def nodes(node):
    return [node, *(below for child in node.children for below in nodes(child))]


def by_id(tree):
    return {node.id: node for node in nodes(tree)}


def test_a_response_is_told_beside_the_bounds_that_rho_set(made):
    """Scores 4, 3, 0, 1, 2 and rho 0.25: chosen from 3, rejected up to 1."""
    told = by_id(traced(made, "bb1.1"))
    assert told["bb1.1"].asked
    assert told["bb1.1"].text == "two"
    assert told["bb1.1"].facts == {"scores": [3, 3, 3], "score": 3, "chars": 3, "variance": 0, "sample": 1}
    assert told["bb1.1"].why[0] == "chosen: the shortest of 2 responses at or above 3"
    assert told["bb1.0"].why[0] == "may be chosen (at or above 3), but bb1.1 (3, 3 characters) is shorter"
    assert told["bb1.2"].why[0] == "may be rejected (at or below 1), but bb1.3 (1, 13 characters) is longer"
    assert told["bb1.3"].why[0] == "rejected: the longest of 2 responses at or below 1"
    assert told["bb1.3"].facts["cut"] == "length"
    assert told["bb1.4"].why == ["neither: between 1 and 3", "its judgments battle: highest variance of scores, 2.667"]
    assert told["bb1.5"].why == ["identical to bb1.1: not judged"]
    assert told["bb1.6"].why == ["none of its judgments has a score: takes no part in pairs"]
    (pair,) = [node for node in told.values() if node.facts.get("role") == "actor"]
    assert pair.why == [
        "rho 0.25 (iterations.m1.rho): chosen scores at least 3, rejected at most 1 (best 4, worst 0)",
        "chosen may have 2500 characters (max_chosen_chars)",
    ]
    assert [node.id for node in told["bb1.1"].children] == ["cc1.1.0", "cc1.1.1", "cc1.1.2"]
    assert told["aa1"].text == "Why is it dark?"


def test_a_judgment_is_told_with_its_elo_and_its_battles(made):
    told = by_id(traced(made, "cc1.4.2"))
    judgment = told["cc1.4.2"]
    wanted = {"score": 4, "rank": 1, "rated": 3, "wins_first": 2, "wins_second": 2, "n_battles": 4}
    assert {name: judgment.facts[name] for name in wanted} == wanted
    assert judgment.why == ["chosen: highest Elo of 3"]
    assert told["cc1.4.1"].why == ["rejected: lowest Elo of 3"]
    assert told["cc1.4.0"].facts["rank"] == 2
    assert [(node.id, *node.facts.values()) for node in judgment.children] == [
        ("dd1.4.0.2", "second", "cc1.4.0", True),
        ("dd1.4.1.2", "second", "cc1.4.1", True),
        ("dd1.4.2.0", "first", "cc1.4.0", True),
        ("dd1.4.2.1", "first", "cc1.4.1", True),
    ]
    assert by_id(traced(made, "cc1.4.1"))["dd1.4.1.0"].facts == {
        "position": "first",
        "opponent": "cc1.4.0",
        "invalid": "no_winner",
    }


def test_a_battle_is_told_with_both_judgments(made):
    told = by_id(traced(made, "dd1.4.0.1"))
    assert told["dd1.4.0.1"].asked
    assert told["dd1.4.0.1"].facts == {"judgment_a": "cc1.4.0", "judgment_b": "cc1.4.1", "winner": "a"}
    assert told["dd1.4.0.1"].text == "Winner: a"
    assert [told[id_].text for id_ in ("cc1.4.0", "cc1.4.1", "cc1.4.2", "bb1.4")] == [
        ". Score: 0",
        ".. Score: 2",
        None,
        "middle",
    ]


def test_pairs_are_told_from_the_prompt_down(made):
    ids = dict(made.execute("SELECT role, pair_id FROM pairs WHERE iteration = 'm1'").fetchall())
    told = by_id(traced(made, ids["actor"]))
    assert told[ids["actor"]].asked
    assert [told[id_].text for id_ in ("bb1.1", "bb1.3", "bb1.0")] == ["two", "a longer one!", None]
    told = by_id(traced(made, ids["judge"]))
    assert told[ids["judge"]].facts["margin"] > 5
    assert [told[id_].text for id_ in ("cc1.4.2", "cc1.4.1", "cc1.4.0")] == ["... Score: 4", ".. Score: 2", None]
    assert {id_ for id_ in told if id_ and id_.startswith("dd")} == {"dd1.4.1.2", "dd1.4.2.1"}  # between the two


@pytest.mark.parametrize(
    ("id_", "actor", "judge"),
    [
        ("aa2", "equal_scores: all scored responses have", "no_decided_battle: the meta-judge gave no"),
        ("aa3", "too_few_responses: fewer than two", "no_eligible_response: no response has two valid"),
        ("aa4", None, "judge_not_trained: the iteration trains no judge"),
    ],
)
def test_a_prompt_without_a_pair_is_told_with_the_recorded_reason(made, id_, actor, judge):
    tree = traced(made, id_)
    for role, reason in (("actor", actor), ("judge", judge)):
        (pair,) = [node for node in tree.children if node.facts.get("role") == role]
        assert (pair.id is None) == (reason is not None)
        if reason:
            assert any(why.startswith(reason) for why in pair.why)


def test_rho_is_the_recorded_one_else_that_of_the_params(tmp_path):
    folder = save_run(tmp_path)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    (folder / "params.yaml").write_text(yaml.safe_dump(params | {"rho": 0.0}))
    with connect(folder=folder) as connection:
        tree = traced(connection, "aa1")
    assert tree.children[0].why[0].startswith("rho 0 (rho): chosen scores at least 4, rejected at most 0")
    assert "bb1.0 would be chosen over bb1.2" in tree.children[0].why[-1]
    (folder / "params.yaml").write_text(yaml.safe_dump(params | {"rho": "balanced"}))
    with connect(folder=folder) as connection:
        place, others = find(connection, "aa1", "workspace")
        found = rows_of_prompt(connection, place, others)
    assert "rho" not in "".join(trace_tree(found).children[0].why)  # not known: no bounds are told
    assert by_id(trace_tree(found))["bb1.1"].why == ["its judgments do not battle: variance 0, the highest 2.667"]
    told = trace_tree(replace(found, rho=0.25, set_by="balanced")).children[0].why[0]
    assert told.startswith("rho 0.25 (balanced): chosen scores at least 3, rejected at most 1")
    found = replace(found, params={"rho": "schedule", "iterations.m1.rho": 0.25}, set_by="params")
    assert trace_tree(replace(found, rho=0.25)).children[0].why[0].startswith("rho 0.25 (iterations.m1.rho): ")
    later = trace_tree(replace(found, rho=0.5)).children[0].why[0]  # the params were edited after the pairs were made
    assert later.startswith("rho 0.5 (recorded with the pairs): chosen scores at least 2, rejected at most 2")


def test_a_prefix_is_enough_if_it_is_of_one_id(made):
    assert find(made, "bb4.1", "workspace")[0].id == "bb4.1"
    assert find(made, "aa4", "workspace")[0].iteration == "m2"
    with pytest.raises(UserError) as error:
        find(made, "bb1", "workspace")
    assert str(error.value) == (
        "'bb1' begins more than one id of workspace: 7 responses (bb1.0, bb1.1, bb1.2, ...). Hint: give more of it"
    )
    with pytest.raises(UserError, match=r"4 prompts \(aa1, aa2, aa3, ...\), 11 responses|3 pairs \(.*\)"):
        find(made, "", "workspace")


def test_an_unknown_id_is_told_with_where_it_was_looked_for(made):
    with pytest.raises(
        UserError, match=r"no id of workspace begins with 'zz'.*prompts, responses, judgments, battles, "
    ):
        find(made, "zz", "workspace")
    with pytest.raises(UserError, match="no id of workspace, iteration m2 begins with 'aa1'"):
        find(made, "aa1", "workspace", "m2")
    with pytest.raises(UserError, match="begins with"):
        find(made, "' OR '1' = '1", "workspace")


def test_an_id_of_two_iterations_asks_for_one(tmp_path):
    folder = save_run(tmp_path)
    for file in (folder / "data/iterations/m1").iterdir():
        (folder / "data/iterations/m2" / file.name).write_bytes(file.read_bytes())
    with connect(folder=folder) as connection:
        with pytest.raises(UserError, match=r"response bb1\.1 is in iterations m1, m2\. Hint: --iteration m1"):
            find(connection, "bb1.1", "workspace")
        assert by_id(traced(connection, "bb1.1", iteration="m2"))["aa1"].facts["iteration"] == "m2"


class Broken:
    """A run in which one table was changed by hand."""

    def __init__(self, folder, file, change):
        path = save_run(folder) / f"data/iterations/m1/{file}.parquet"
        change(pl.read_parquet(path)).write_parquet(path)
        self.folder = folder

    def trace(self, id_):
        with connect(folder=self.folder) as connection:
            return traced(connection, id_)


def replaced(column, old, new):
    return lambda frame: frame.with_columns(pl.col(column).replace(old, new))


def one_set(id_column, id_, column, value):
    changed = pl.when(pl.col(id_column) == id_).then(pl.lit(value)).otherwise(column).alias(column)
    return lambda frame: frame.with_columns(changed)


def twice(id_column, id_):
    return lambda frame: pl.concat([frame, frame.filter(pl.col(id_column) == id_)])


ACTOR_PAIR = "cb79b0d6789f4832"
BROKEN = {
    "a judgment whose response is not there": (
        "judgments",
        one_set("judgment_id", "cc1.4.0", "response_id", "bb9.9"),
        "cc1.4.0",
        "cc1.4.0",
        "judgments: its response bb9.9 is not among the prompt's",
    ),
    "a circle of duplicates": (
        "unique_responses",
        one_set("response_id", "bb1.1", "duplicate_of", "bb1.5"),
        "bb1.5",
        "bb1.5",
        "duplicate_of leads in a circle: bb1.5 -> bb1.1 -> bb1.5",
    ),
    "a duplicate of itself": (
        "unique_responses",
        one_set("response_id", "bb1.5", "duplicate_of", "bb1.5"),
        "bb1.5",
        "bb1.5",
        "duplicate_of leads in a circle: bb1.5 -> bb1.5",
    ),
    "a duplicate of a duplicate": (
        "unique_responses",
        one_set("response_id", "bb1.1", "duplicate_of", "bb1.0"),
        "bb1.5",
        "bb1.5",
        "duplicate_of bb1.1 is a duplicate itself, of bb1.0",
    ),
    "a duplicate of nothing": (
        "unique_responses",
        replaced("duplicate_of", "bb1.1", "bb9.9"),
        "bb1.5",
        "bb1.5",
        "duplicate_of bb9.9 is no response of the prompt",
    ),
    "a duplicate with another text": (
        "unique_responses",
        replaced("duplicate_of", "bb1.1", "bb1.0"),
        "bb1.5",
        "bb1.5",
        "is said to be a duplicate of bb1.0, but has another text",
    ),
    "a pair of an unknown response": (
        "actor_pairs",
        replaced("chosen_id", "bb1.1", "bb9.9"),
        "bb1.3",
        ACTOR_PAIR,
        "chosen_id bb9.9 is no response of the prompt",
    ),
    "a pair with another text": (
        "actor_pairs",
        replaced("rejected", "a longer one!", "another"),
        ACTOR_PAIR,
        ACTOR_PAIR,
        "rejected is another text than that of response bb1.3",
    ),
    "two responses of one id": (
        "unique_responses",
        twice("response_id", "bb1.1"),
        "bb1.1",
        "bb1.1",
        "2 rows of responses have this id",
    ),
    "two pairs of one prompt": ("actor_pairs", twice("prompt_id", "aa1"), "aa1", "aa1", "2 rows of actor_pairs are of"),
    "a pair, and a reason for none": (
        "actor_no_pairs",
        replaced("prompt_id", "aa2", "aa1"),
        "aa1",
        "aa1",
        "has a pair as actor, and a reason why it has none",
    ),
    "a prompt that is not there": (
        "prompts",
        lambda frame: frame.filter(pl.col("prompt_id") != "aa1"),
        "bb1.1",
        "aa1",
        "no prompt of the iteration has this id",
    ),
    "a battle of an unknown judgment": (
        "battles",
        replaced("judgment_b", "cc1.4.2", "cc9.9.9"),
        "dd1.4.0.2",
        "dd1.4.0.2",
        "judgment_b cc9.9.9 is not among the prompt's",
    ),
    "a battle of judgments of two responses": (
        "battles",
        replaced("judgment_b", "cc1.4.2", "cc1.0.0"),
        "dd1.4.0.2",
        "dd1.4.0.2",
        "judgment_b cc1.0.0 is of another response",
    ),
    "an Elo of an unknown judgment": (
        "elo",
        replaced("judgment_id", "cc1.4.2", "cc9.9.9"),
        "aa1",
        "aa1",
        "cc9.9.9: elo: no judgment of the prompt has this id",
    ),
    "an id of two prompts": (
        "judgments",
        replaced("judgment_id", "cc2.0.0", "cc1.4.2"),
        "cc1.4.2",
        "cc1.4.2",
        "rows of 1 more prompts have this id, aa2 for one",
    ),
    "a chosen response that is not there": (
        "choices",
        replaced("response_id", "bb1.4", "bb9.9"),
        "aa1",
        "aa1",
        "bb9.9: choices: its response bb9.9 is not among the prompt's",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_table_is_reported_not_followed(tmp_path, name):
    file, change, asked, where, problem = BROKEN[name]
    tree = Broken(tmp_path, file, change).trace(asked)
    told = nodes(tree)
    assert [node for node in told if node.asked]
    assert any(problem in said for node in told if node.id == where for said in node.broken)
    assert len(told) < 100


@pytest.mark.parametrize("file", ["responses", "unique_responses", "judgments", "scores", "battles", "elo", "choices"])
def test_a_table_that_is_empty_or_missing_ends_in_no_traceback(tmp_path, file):
    for asked in ("aa1", "bb1.1", "cc1.4.2", "dd1.4.0.2", ACTOR_PAIR):
        path = save_run(tmp_path / asked) / f"data/iterations/m1/{file}.parquet"
        pl.read_parquet(path).clear().write_parquet(path)
        for _ in range(2):
            with connect(folder=tmp_path / asked) as connection:
                try:
                    told = nodes(traced(connection, asked))
                except UserError as error:  # the id went with the table
                    told = str(error)
            assert "begins with" in told or [node for node in told if node.asked]
            path.unlink(missing_ok=True)


def test_every_row_of_the_run_leads_to_its_prompt(made):
    ids = [
        (kind, id_, prompt)
        for kind, view in (("prompt", "prompts"), ("response", "responses"), ("judgment", "judgments"),
                           ("battle", "battles"), ("pair", "pairs"))
        for id_, prompt in made.execute(f"SELECT {kind}_id, prompt_id FROM {view}").fetchall()
    ]  # fmt: skip
    assert len(ids) == 4 + 13 + 33 + 12 + 3
    for kind, id_, prompt in ids:
        tree = traced(made, id_)
        (asked,) = [node for node in nodes(tree) if node.asked]
        assert (tree.kind, tree.id, asked.kind, asked.id) == ("prompt", prompt, kind, id_)
        assert not any(node.broken for node in nodes(tree))


HOSTILE = "a\x1b[31mred\x1b]0;title\x07\r\u202egnirts\u2066\u200bz\x00\u2028 é 漢字 🎉\nnext\tline"


def test_nothing_in_a_text_reaches_the_terminal_as_a_command():
    shown = visible(HOSTILE)
    assert shown == (
        "a\\x1b[31mred\\x1b]0;title\\x07\\r\\u202egnirts\\u2066\\u200bz\\x00\\u2028 é 漢字 🎉\nnext    line"
    )


def test_the_command_prints_hostile_texts_and_ids_made_visible(tmp_path, monkeypatch, capsys):
    from metareward.cli.trace import trace

    folder = save_run(tmp_path)
    for file, column in (("prompts", "prompt"), ("prompts", "source"), ("unique_responses", "finish_reason")):
        path = folder / f"data/iterations/m1/{file}.parquet"
        pl.read_parquet(path).with_columns(pl.lit(HOSTILE).alias(column)).write_parquet(path)
    monkeypatch.chdir(folder)
    trace("bb1.1")
    printed = capsys.readouterr().out
    assert "\\u202egnirts" in printed
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e\u2066\u2028]", printed)


def test_the_command_cuts_long_texts_unless_all_is_asked_for(tmp_path, monkeypatch, capsys):
    from metareward.cli.trace import trace

    folder = save_run(tmp_path)
    path = folder / "data/iterations/m1/prompts.parquet"
    pl.read_parquet(path).with_columns(prompt=pl.lit("x" * 999 + "END")).write_parquet(path)
    monkeypatch.chdir(folder)
    trace("bb1.1")
    short = capsys.readouterr().out
    assert "... (1002 characters)" in short.replace("\n", " ")
    assert "END" not in short
    assert all(len(line) <= 80 for line in short.splitlines())
    trace("bb1.1", full=True)
    assert "END" in capsys.readouterr().out
    trace("bb1.1", as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["text"].endswith("END")
    assert {"role": "actor", "chosen": "bb1.1"}.items() <= found["children"][0]["facts"].items()


def test_a_file_that_is_no_table_is_one_line(tmp_path, monkeypatch, capsys):
    from metareward.cli.trace import trace

    folder = save_run(tmp_path)
    (folder / "data/iterations/m1/judgments.parquet").write_text("torn")
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match=r"m1/judgments\.parquet is not a readable table\. Hint: dvc repro makes it"):
        trace("bb1.1")
    trace("aa4", iteration="m2")
    assert "Count." in capsys.readouterr().out


def test_every_view_that_is_read_has_the_columns_that_rows_are_found_by(made):
    for view in VIEWS:
        assert {"rev", "iteration", "prompt_id"} <= {row[0] for row in made.execute(f"DESCRIBE {view}").fetchall()}
