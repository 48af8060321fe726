"""`metareward sql` and `connect`: the views over a run's tables, and that nothing but these tables can be read."""

import hashlib
import json
import re
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest
import yaml

from metareward.cli.main import main
from metareward.errors import UserError
from metareward.query import connect
from metareward.query.connection import describe, read_run
from metareward.query.views import VIEWS
from metareward.schemas import SCHEMAS
from metareward.tables import TABLES, table_of, write_table

from pipeline import ROOT

HOSTILE = "red \x1b[31m bell \x07 bidi \u202e two\nlines | <b> " + "x" * 500


def rows(name, *given):
    """A table from what matters of its rows; the rest is the same in all of them."""
    fill = {pl.String: "x", pl.Int64: 1, pl.Float64: 0.5, pl.Boolean: True}
    table = TABLES[name]
    common = {
        column: None if column in table.nullable else fill.get(type_, []) for column, type_ in table.columns.items()
    }
    return table_of([common | row for row in given], name)


def make_run(root):
    """Two iterations with two prompts, of which m1 alone is past dedup."""
    (root / "dvc.yaml").write_text("stages: {}\n")
    (root / "params.yaml").write_text("seed: 7\njudge: {n: 3, temperature: 0.7, note: null}\nname: it's\n")
    (root / "metrics.json").write_text(json.dumps({"held_out": {"spearman": {"seed": 0.25, "m1": None}}}))
    for iteration in ("m1", "m2"):
        folder = root / "data/iterations" / iteration
        prompts = [{"prompt_id": "p1", "prompt": HOSTILE}, {"prompt_id": "p2", "prompt": f"of {iteration}"}]
        write_table(rows("prompts", *prompts), folder / "prompts.parquet", "prompts")
        responses = [
            {"prompt_id": "p1", "response_id": f"r{k}", "sample": k, "response": "same", "n_chars": 4} for k in (0, 1)
        ]
        write_table(rows("responses", *responses), folder / "responses.parquet", "responses")
        if iteration == "m1":
            responses[1]["duplicate_of"] = "r0"
            write_table(rows("responses", *responses), folder / "unique_responses.parquet", "responses")
            for role in ("actor", "judge"):
                none = rows("no_pairs", {"prompt_id": "p1", "role": role, "reason": f"of the {role}"})
                write_table(none, folder / f"{role}_no_pairs.parquet", "no_pairs")


@pytest.fixture
def run(tmp_path, monkeypatch):
    make_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def sql(monkeypatch, *arguments):
    """The exit code of `metareward sql` with these arguments."""
    monkeypatch.setattr(sys, "argv", ["metareward", "sql", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code or 0


def contents(root):
    return {path: hashlib.md5(path.read_bytes()).hexdigest() for path in sorted(root.rglob("*")) if path.is_file()}


def test_every_view_has_rev_then_iteration_and_one_query_reads_all_of_them(run):
    found = connect().execute("SELECT rev, iteration, prompt_id FROM prompts ORDER BY ALL").fetchall()
    assert found == [("workspace", name, prompt) for name in ("m1", "m2") for prompt in ("p1", "p2")]
    columns = [row[0] for row in connect().execute("DESCRIBE prompts").fetchall()]
    assert columns == ["rev", "iteration", *TABLES["prompts"].columns]


def test_responses_know_their_duplicates_where_these_are_marked(run):
    query = "SELECT iteration, response_id, duplicate_of, response FROM responses ORDER BY ALL"
    assert connect().execute(query).fetchall() == [
        ("m1", "r0", None, "same"),
        ("m1", "r1", "r0", "same"),
        ("m2", "r0", None, "same"),
        ("m2", "r1", None, "same"),
    ]


def test_both_roles_stand_in_no_pairs(run):
    found = connect().execute("SELECT iteration, role, reason FROM no_pairs ORDER BY ALL").fetchall()
    assert found == [("m1", "actor", "of the actor"), ("m1", "judge", "of the judge")]


def test_params_and_metrics_are_tables(run):
    found = connect().execute("SELECT name, value FROM params ORDER BY ALL").fetchall()
    assert found == [
        ("judge.n", "3"),
        ("judge.note", None),
        ("judge.temperature", "0.7"),
        ("name", "it's"),
        ("seed", "7"),
    ]
    assert connect().execute("FROM metrics ORDER BY checkpoint").fetchall() == [
        ("workspace", "held_out.spearman", "m1", None),
        ("workspace", "held_out.spearman", "seed", 0.25),
    ]


def test_every_table_that_a_stage_writes_is_in_a_view_with_its_schema(tmp_path):
    """The outputs of dvc.yaml, and the files that stages write into folders."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()
    outs = [out for stage in stages for out in stage.get("do", stage).get("outs", []) if isinstance(out, str)]
    files = [re.sub(r"\$\{\w+\}", "m1", out) for out in outs if out.endswith(".parquet")]
    for script in (ROOT / "stages").glob("*.py"):
        for name in re.findall(r'folder / "(\w+)\.parquet", "\w+"\)', script.read_text()):
            folders = {
                "evaluate": "evaluations",
                "compare": "comparisons",
                "likelihood": "likelihoods",
                "grade": "grades",
            }
            folder = folders.get(script.stem)
            files += [f"data/{folder}/m1/{name}.parquet"] if folder else []
    assert len(files) > 25
    (tmp_path / "dvc.yaml").touch()
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        pl.DataFrame({"x": [1]}).write_parquet(tmp_path / file)
    seen = {file.path for listed in read_run(folder=tmp_path).files.values() for file in listed}
    left = {str(tmp_path / file) for file in files} - seen
    assert {Path(path).name for path in left} <= {"responses.parquet"}  # of an iteration: the other file holds its rows
    assert {view.table for view in VIEWS.values()} == set(SCHEMAS)


def test_every_view_and_column_is_described(run):
    views = describe(read_run())
    shown = {name for (name,) in connect().execute("SHOW TABLES").fetchall()}
    assert set(views) == shown
    for name, (about, columns) in views.items():
        assert about, name
        types = {row[0]: row[1] for row in connect().execute(f'DESCRIBE "{name}"').fetchall()}
        assert {column: kind for column, (kind, _) in columns.items()} == types, name
        assert all(words for _, words in columns.values()), name


def test_without_a_run_views_are_empty_and_a_note_says_what_makes_them(tmp_path, monkeypatch, capsys):
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert sql(monkeypatch, "SELECT count(*) AS n FROM pairs", "--csv") == 0
    out, err = capsys.readouterr()
    assert out == "n\n0\n"
    assert err == "note: there are no tables yet, so every view of tables is empty. Hint: dvc repro makes them\n"
    monkeypatch.chdir(tmp_path.parent)
    assert sql(monkeypatch, "SELECT 1") == 2
    assert "there is no dvc.yaml in it or above it" in capsys.readouterr().err


def test_a_broken_table_stops_only_the_queries_that_need_it(run, monkeypatch, capsys):
    (run / "data/iterations/m2/prompts.parquet").write_bytes(b"PAR1 no")
    with pytest.warns(UserWarning, match=r"m2/prompts\.parquet is not a readable table"):
        connection = connect()
    assert connection.execute("SELECT count(*) FROM prompts WHERE iteration = 'm1'").fetchone() == (2,)
    assert connection.execute("SELECT count(*) FROM responses").fetchone() == (4,)
    filtered = [f"SELECT prompt_id FROM prompts WHERE {test}" for test in ("source = 'x'", "starts_with(prompt, 'x')")]
    joined = "SELECT count(*) FROM responses JOIN prompts USING (rev, iteration, prompt_id) WHERE prompt > ''"
    whole = ["SELECT count(*) FROM prompts", "FROM prompts", "SELECT rev FROM prompts WHERE iteration > 'm1'"]
    for query in (*whole, *filtered, joined):  # a filter on a column must not rule the broken table out
        assert sql(monkeypatch, query) == 2
        assert "is not a readable table. Hint: dvc repro makes it" in capsys.readouterr().err.splitlines()[-1]


def test_a_table_of_an_older_schema_has_null_where_a_column_was_not_there(run, monkeypatch, capsys):
    old = run / "data/iterations/m2/responses.parquet"
    pl.read_parquet(old).drop("thought", "n_chars").write_parquet(old)
    assert sql(monkeypatch, "SELECT iteration, sum(n_chars) AS n FROM responses GROUP BY 1 ORDER BY 1", "--csv") == 0
    out, err = capsys.readouterr()
    assert out == "iteration,n\nm1,8\nm2,\n"
    assert err == (
        "note: workspace is from before these columns, which are null there: responses.n_chars, responses.thought\n"
    )


ESCAPES = [
    "COPY prompts TO 'stolen.csv'",
    "COPY prompts TO '{table}' (FORMAT parquet)",
    "COPY (SELECT 1) TO '{table}' (FORMAT parquet, USE_TMP_FILE false)",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{table}' (USE_TMP_FILE false)",
    "EXPLAIN (ANALYZE, FORMAT json) COPY (SELECT 1) TO '{table}' (USE_TMP_FILE false)",
    "EXPLAIN (SELECT 1) COPY (SELECT 1) TO '{table}' (USE_TMP_FILE false)",
    "WITH a AS (COPY (SELECT 1) TO '{table}' (USE_TMP_FILE false)) FROM a",
    "EXPLAIN ANALYZE WITH a AS (COPY (SELECT 1) TO '{table}' (USE_TMP_FILE false)) FROM a",
    "WITH a AS (WITH b AS (COPY (SELECT 1) TO '{table}' (USE_TMP_FILE false)) FROM b) FROM a",
    "WITH a AS (COPY (PIVOT prompts ON source USING count(*)) TO '{table}' (USE_TMP_FILE false)) FROM a",
    "COPY (PIVOT prompts ON source USING count(*)) TO '{table}' (USE_TMP_FILE false)",
    "/* a */ -- b\n copy prompts TO '{table}' (USE_TMP_FILE false)",
    "SELECT 1; COPY (SELECT 1) TO '{table}' (USE_TMP_FILE false)",
    "SELECT * FROM query('WITH a AS (COPY (SELECT 1) TO ''{table}'' (USE_TMP_FILE false)) FROM a')",
    "PREPARE p AS COPY (SELECT 1) TO '{table}' (USE_TMP_FILE false)",
    "EXECUTE p",
    "COPY prompts FROM '/etc/passwd'",
    "EXPORT DATABASE 'stolen'",
    "IMPORT DATABASE 'stolen'",
    "ATTACH 'stolen.db'",
    "ATTACH ':memory:' AS other",
    "ATTACH '{table}' AS other",
    "DETACH memory",
    "USE memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "UPDATE EXTENSIONS",
    "FROM read_csv('/etc/passwd')",
    "FROM read_text('/etc/passwd')",
    "FROM read_blob('/etc/passwd')",
    "FROM read_json('/etc/passwd')",
    "FROM sniff_csv('/etc/passwd')",
    "FROM glob('/etc/*')",
    "FROM '/etc/passwd'",
    "FROM 'params.yaml'",
    "FROM read_text('data/../params.yaml')",
    "FROM read_text('{table}/../../../../params.yaml')",
    "FROM read_parquet('other.parquet')",
    "FROM parquet_metadata('other.parquet')",
    "FROM read_parquet('{root}/*.parquet')",
    "FROM read_parquet('data/iterations/*/*.parquet')",
    "FROM read_duckdb('other.db')",
    "FROM read_parquet('https://example.com/a.parquet')",
    "FROM 's3://bucket/a.parquet'",
    "SELECT getenv('HOME')",
    "CREATE SECRET s (TYPE s3)",
    "CREATE PERSISTENT SECRET s (TYPE http)",
    "CREATE TABLE t AS SELECT 1",
    "CREATE OR REPLACE VIEW prompts AS SELECT 1",
    "CREATE MACRO f(x) AS x",
    "INSERT INTO prompts VALUES (1)",
    "WITH a AS (INSERT INTO prompts VALUES (1) RETURNING *) FROM a",
    "UPDATE prompts SET prompt = 'x'",
    "DELETE FROM prompts",
    "TRUNCATE prompts",
    "DROP VIEW prompts",
    "ALTER VIEW prompts RENAME TO p",
    "SET enable_external_access = true",
    "SET allowed_paths = ['/etc/passwd']",
    "SET allowed_directories = ['/']",
    "SET lock_configuration = false",
    "SET temp_directory = '/tmp'",
    "SET python_enable_replacements = true",
    "SET VARIABLE x = 1",
    "RESET enable_external_access",
    "PRAGMA enable_profiling",
    "PRAGMA profiling_output = 'stolen.json'",
    "CALL enable_logging(storage = 'file', storage_path = 'stolen')",
    "CHECKPOINT",
    "BEGIN",
    "FROM os",
    "FROM HOSTILE",
    "FROM frame",
    "FROM python_map_function()",
    "VACUUM",
]


@pytest.mark.parametrize("escape", ESCAPES)
def test_nothing_but_the_runs_tables_is_read_and_nothing_is_written(escape, run, monkeypatch, capsys):
    pl.DataFrame({"secret": [1]}).write_parquet(run / "other.parquet")
    frame = pl.DataFrame({"secret": [1]})
    before, notebook = contents(run), connect()
    table = run / "data/iterations/m1/prompts.parquet"
    text = escape.replace("{table}", str(table)).replace("{root}", str(run))
    assert sql(monkeypatch, text) == 2
    out, err = capsys.readouterr()
    assert re.fullmatch(r"error: [^\n]+\n", err)
    assert "root:" not in out + err
    assert "secret" not in out.lower()
    for run_it in (notebook.execute, notebook.sql, notebook.cursor().query):
        with pytest.raises((UserError, duckdb.Error)):
            run_it(text).fetchall()
    assert contents(run) == before
    assert frame.height == 1  # which a statement may not name either


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1",
        "(SELECT 1)",
        "FROM prompts",
        "TABLE prompts",
        "VALUES (1)",
        "WITH a AS (SELECT 'copy') FROM a",
        "WITH RECURSIVE a(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM a WHERE n < 3) FROM a",
        "DESCRIBE prompts",
        "SHOW TABLES",
        "SUMMARIZE prompts",
        "EXPLAIN FROM prompts",
        "EXPLAIN ANALYZE FROM prompts",
        "PIVOT prompts ON source USING count(*)",
        "UNPIVOT prompts ON prompt, source",
        "SELECT prompt FROM prompts WHERE prompt LIKE '%COPY%'; -- the end",
        "SELECT 1; SELECT 2",
    ],
)
def test_queries_of_every_kind_run(query, run, monkeypatch, capsys):
    assert sql(monkeypatch, query) == 0, capsys.readouterr().err
    connect().execute(query).fetchall()


def test_a_link_out_of_the_project_is_not_followed(run, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "secret.parquet"
    write_table(rows("prompts", {"prompt_id": "secret"}), outside, "prompts")
    link = run / "data/iterations/m2/prompts.parquet"
    link.unlink()
    link.symlink_to(outside)
    with pytest.warns(UserWarning, match="link out of the project"):
        connection = connect()
    with pytest.raises(duckdb.Error, match="link out of the project"):
        connection.execute("FROM prompts").fetchall()
    assert connection.execute("SELECT count(*) FROM prompts WHERE iteration = 'm1'").fetchone() == (2,)


def test_a_terminal_never_sees_what_it_would_obey(run, monkeypatch, capsys):
    for width in ("40", "80", "120"):
        monkeypatch.setenv("COLUMNS", width)
        for query in ("SELECT prompt, iteration FROM prompts", f'SELECT 1 AS "{HOSTILE[:20]}"', "SUMMARIZE prompts"):
            assert sql(monkeypatch, query) == 0
            out = capsys.readouterr().out
            assert all(char.isprintable() for char in out.replace("\n", ""))
            assert max(map(len, out.splitlines())) <= int(width)
    assert sql(monkeypatch, "SELECT error(prompt) FROM prompts") == 2
    assert "\x1b" not in capsys.readouterr().err


def test_formats(run, monkeypatch, capsys):
    query = "SELECT prompt_id, prompt, NULL AS nothing, 0.5 AS half, [1, 2] AS list FROM prompts WHERE iteration = 'm1'"
    assert sql(monkeypatch, query, "--json") == 0
    first, _ = json.loads(capsys.readouterr().out)
    assert first == {"prompt_id": "p1", "prompt": HOSTILE, "nothing": None, "half": 0.5, "list": [1, 2]}
    assert sql(monkeypatch, query, "--csv") == 0
    frame = pl.read_csv(capsys.readouterr().out.encode())
    assert frame.row(0) == ("p1", HOSTILE, None, 0.5, "[1, 2]")
    assert sql(monkeypatch, query, "--markdown") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| prompt_id | prompt | nothing | half | list |"
    assert len(lines) == 4
    assert "\\| &lt;b>" in lines[2]
    assert sql(monkeypatch, query, "--parquet", run / "out.parquet") == 0
    assert capsys.readouterr().out == f"2 rows in {run}/out.parquet\n"
    assert pl.read_parquet(run / "out.parquet")["prompt"].to_list() == [HOSTILE, "of m1"]
    for path in (run / "nowhere/out.parquet", run / "data"):
        assert sql(monkeypatch, query, "--parquet", path) == 2
        assert "cannot be written" in capsys.readouterr().err
    assert not list(run.glob(".*.tmp"))
    assert sql(monkeypatch, query, "--csv", "--json") == 2
    assert sql(monkeypatch, "SELECT 1; SELECT 2", "--csv") == 2
    assert sql(monkeypatch, "") == 2


def test_errors_are_one_line_with_what_was_meant(run, monkeypatch, capsys):
    for query, words in {
        "FROM promts": r'Table with name promts does not exist! Did you mean "prompts"\? Views: .*judgments.*',
        "SELECT promt FROM prompts": r'"promt" not found .*Candidate bindings: .*"prompt".*',
        "SELEC 1": r'syntax error at or near "SELEC"',
    }.items():
        assert sql(monkeypatch, query) == 2
        assert re.fullmatch(f"error: [^\n]*{words}[^\n]*\n", capsys.readouterr().err)


def test_a_database_of_views_reads_the_run_where_it_lies(run, monkeypatch, capsys):
    assert sql(monkeypatch, "--database", run / "run.duckdb") == 0
    with duckdb.connect(str(run / "run.duckdb"), read_only=True) as connection:
        monkeypatch.chdir("/")
        assert connection.execute("SELECT count(*) FROM prompt_outcomes").fetchone() == (8,)
    assert sql(monkeypatch, "--database", "/nowhere/run.duckdb") == 2
