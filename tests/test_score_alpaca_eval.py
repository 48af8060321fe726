"""`metareward score alpaca-eval`: annotations as upstream writes them, their oddities, what length control needs."""

import gzip
import json
import random
import resource
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from metareward import text_files
from metareward.cli.main import app
from metareward.inputs import alpaca_eval_constants
from metareward.inputs.alpaca_eval_instructions import instruction_index
from metareward.inputs.lines import read_objects

from bench import BENCH, needs_bench
from damage import refusal
from judgments import refused, score, upstream, write

# 60 made-up instructions, their difficulties and gamed rows


@pytest.fixture
def made_up(tmp_path):
    """Rows of the compact form, and the files that length control needs."""
    draw = np.random.default_rng(1)
    n = 60
    lengths, preferences = draw.integers(10, 900, (2, n)).tolist(), draw.random(n).tolist()
    rows = [
        {"index": k, "len_1": first, "len_2": second, "preference": 1 + share}
        for k, (first, second, share) in enumerate(zip(*lengths, preferences, strict=True))
    ]
    write(tmp_path / "d.jsonl", ({"index": k, "instruction_difficulty": draw.normal()} for k in range(n)))
    gamed = ({"index": k % n, "std_delta_len": draw.normal(), "preference": draw.random()} for k in range(2 * n))
    write(tmp_path / "g.jsonl", gamed)
    write(tmp_path / "q.jsonl", ({"index": k, "instruction": f"Do {k}."} for k in range(n)))
    return rows, ["--difficulty", tmp_path / "d.jsonl", "--gamed", tmp_path / "g.jsonl"]


def test_every_form_of_a_file_gives_the_same_figures(made_up, tmp_path):
    rows, control = made_up
    expected, said = score("alpaca-eval", write(tmp_path / "a.jsonl", rows), *control)
    assert list(expected) == ["win_rate", "length_controlled_win_rate", "mean_length"]
    assert {n for _, n in expected.values()} == {60}
    assert said == ["AlpacaEval 2: the model, judged by a judge that the file does not name"]
    random.Random(1).shuffle(rows)
    control += ["--questions", tmp_path / "q.jsonl"]
    (tmp_path / "list.json").write_text(json.dumps(upstream(rows), indent=2))
    (tmp_path / "list.json.gz").write_bytes(gzip.compress(json.dumps(upstream(rows)).encode()))
    write(tmp_path / "lines.jsonl", upstream(rows, index=5))  # upstream's index is none of the instruction
    for name in ("list.json", "list.json.gz", "lines.jsonl"):
        assert score("alpaca-eval", tmp_path / name, *control) == (
            expected,
            ["AlpacaEval 2: mine against theirs, judged by judge"],
        )


def test_the_difficulties_may_bring_the_instructions(made_up, tmp_path):
    rows, control = made_up
    expected = score("alpaca-eval", write(tmp_path / "a.jsonl", rows), *control)[0]
    hard = [json.loads(line) for line in (tmp_path / "d.jsonl").read_text().splitlines()]
    write(tmp_path / "d.jsonl", ({**row, "instruction": f"Do {row['index']}."} for row in hard))
    assert score("alpaca-eval", write(tmp_path / "b.jsonl", upstream(rows)), *control)[0] == expected


def test_upstreams_csv_will_do(made_up, tmp_path):
    rows, control = made_up
    path = write(tmp_path / "a.jsonl", rows)
    expected = score("alpaca-eval", path, *control)[0]
    hard, gamed = (pl.read_ndjson(tmp_path / name) for name in ("d.jsonl", "g.jsonl"))
    hard.rename({"index": ""}).write_csv(tmp_path / "instruction_difficulty.csv")
    table = gamed.join(hard, on="index", maintain_order="left").with_columns(
        model=pl.lit("m"), not_gamed_baseline=False
    )
    missing = table[:1].with_columns(preference=pl.lit(None, dtype=pl.Float64))
    pl.concat([table, missing]).write_csv(tmp_path / "df_gamed.csv")
    for difficulty in ("instruction_difficulty.csv", "df_gamed.csv"):
        csv = ["--difficulty", tmp_path / difficulty, "--gamed", tmp_path / "df_gamed.csv"]
        assert score("alpaca-eval", path, *csv)[0] == expected


def test_without_the_hub_a_line_says_how_to_get_length_control(made_up, tmp_path, monkeypatch):
    rows, _ = made_up
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    figures, said = score("alpaca-eval", write(tmp_path / "a.jsonl", rows))
    assert list(figures) == ["win_rate", "mean_length"]
    assert said[0].startswith(
        "length-controlled win rate: left out, since df_gamed.csv of the dataset tatsu-lab/alpaca_eval"
    )
    assert said[0].endswith("Hint: --difficulty FILE --gamed FILE")
    assert len(said) == 2


def test_a_hub_that_does_not_answer_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(alpaca_eval_constants, "_PATIENCE", 0.2)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: time.sleep(3))
    started = time.monotonic()
    assert "cannot be fetched from the hub: it does not answer" in refusal(alpaca_eval_constants.fetch_gamed)
    assert time.monotonic() - started < 2


def test_what_the_hub_gives_is_used(made_up, tmp_path, monkeypatch):
    rows, control = made_up
    path = write(tmp_path / "a.jsonl", rows)
    hard, gamed = (pl.read_ndjson(tmp_path / name) for name in ("d.jsonl", "g.jsonl"))
    gamed.join(hard, on="index", maintain_order="left").write_csv(tmp_path / "df_gamed.csv")
    monkeypatch.setattr(alpaca_eval_constants, "fetch_gamed", lambda: tmp_path / "df_gamed.csv")
    expected = score("alpaca-eval", path, *control)
    assert score("alpaca-eval", path) == score("alpaca-eval", path, *control[:2]) == expected


def test_rows_that_are_missing_shift_nothing(made_up, tmp_path):
    rows, control = made_up
    few = [row for row in rows if row["index"] not in (0, 20, 59)]
    by_index = score("alpaca-eval", write(tmp_path / "a.jsonl", few), *control, "--c", 3)[0]
    asked = write(tmp_path / "b.jsonl", upstream(few))
    by_text = score("alpaca-eval", asked, *control, "--questions", tmp_path / "q.jsonl", "--c", 3)[0]
    assert by_index == by_text
    assert {n for _, n in by_index.values()} == {57}


def test_rows_without_instruction_and_index_are_in_order_if_all_are_there(made_up, tmp_path):
    rows, control = made_up
    expected = score("alpaca-eval", write(tmp_path / "a.jsonl", rows), *control)[0]
    bare = [{key: value for key, value in row.items() if key != "index"} for row in rows]
    figures, said = score("alpaca-eval", write(tmp_path / "b.jsonl", bare), *control)
    assert figures == expected
    line = "files without instruction and index, taken to be in the benchmark's order: 1 (the first: 60 rows)"
    assert said[0] == line
    figures, said = score("alpaca-eval", write(tmp_path / "b.jsonl", bare[1:]), *control)
    assert list(figures) == ["win_rate", "mean_length"]
    assert "left out, since no row is of an instruction" in said[0]


ODD = [
    ({"preference": None}, "rows without a preference: 1 (the first: line 61, None)"),
    ({"preference": float("nan")}, "rows without a preference: 1 (the first: line 61, nan)"),
    ({"preference": -1}, "rows without a preference: 1 (the first: line 61, -1)"),
    ({}, "rows without a preference: 1 (the first: line 61, None)"),
    ({"preference": 3}, "preferences that are no number in [1, 2], left out: 1 (the first: line 61, 3)"),
    ({"preference": 0.5}, "preferences that are no number in [1, 2], left out: 1 (the first: line 61, 0.5)"),
    ({"preference": True}, "preferences that are no number in [1, 2], left out: 1 (the first: line 61, True)"),
    ({"preference": [1.2]}, "preferences that are no number in [1, 2], left out: 1 (the first: line 61, [1.2])"),
    ({"preference": "model"}, "preferences that are no number in [1, 2], left out: 1 (the first: line 61, 'model')"),
    ({"preference": float("inf")}, "preferences that are no number in [1, 2], left out: 1 (the first: line 61, inf)"),
    ({"preference": 10**30}, f"preferences that are no number in [1, 2], left out: 1 (the first: line 61, {10**30})"),
]


@pytest.mark.parametrize(("judged", "line"), ODD, ids=[str(odd) for odd, _ in ODD])
def test_a_preference_that_is_none_is_counted_and_named(made_up, tmp_path, judged, line):
    rows, control = made_up
    hard = [json.loads(text) for text in (tmp_path / "d.jsonl").read_text().splitlines()]
    write(tmp_path / "d.jsonl", [*hard, {"index": 60, "instruction_difficulty": 0.5}])
    before, _ = score("alpaca-eval", write(tmp_path / "a.jsonl", rows), *control)
    odd = {"index": 60, "len_1": 9, "len_2": 7, **judged}
    figures, said = score("alpaca-eval", write(tmp_path / "b.jsonl", [*rows, odd]), *control)
    assert figures["win_rate"] == before["win_rate"]
    assert figures["mean_length"][1] == 61
    assert said[0] == line


def test_0_is_a_tie_and_a_number_may_be_a_text(made_up, tmp_path):
    rows, control = made_up
    rows[3]["preference"], rows[4]["preference"] = 1.5, 2.0
    expected = score("alpaca-eval", write(tmp_path / "a.jsonl", rows), *control)[0]
    rows[3]["preference"], rows[4]["preference"] = 0, "2.0"
    figures, said = score("alpaca-eval", write(tmp_path / "a.jsonl", rows), *control)
    assert figures == expected
    assert said[:2] == [
        "preferences of 0, read as ties as upstream does: 1 (the first: line 4, 0)",
        "preference written as text, read as a number: 1 (the first: line 5, '2.0')",
    ]


STRANGERS = [
    ({"index": 60}, "line 61, 60"),
    ({"index": -1}, "line 61, -1"),
    ({"index": "7"}, "line 61, '7'"),
    ({"index": 1.5}, "line 61, 1.5"),
    ({"index": None}, "line 61, None"),
    ({}, "line 61, None"),
    ({"instruction": "Do it otherwise.", "index": 3}, "line 61, 'Do it otherwise.'"),
]


@pytest.mark.parametrize(("which", "example"), STRANGERS, ids=[str(which) for which, _ in STRANGERS])
def test_a_row_of_no_instruction_is_left_out_and_named(made_up, tmp_path, which, example):
    rows, control = made_up
    expected = score("alpaca-eval", write(tmp_path / "a.jsonl", rows), *control)[0]
    odd = {"len_1": 5, "len_2": 5000, "preference": 2, **which}
    figures, said = score("alpaca-eval", write(tmp_path / "a.jsonl", [*rows, odd]), *control)
    assert figures == expected
    assert said[0] == f"rows that match no instruction of the benchmark, left out: 1 (the first: {example})"


def test_instructions_that_are_all_others_have_no_length_control(made_up, tmp_path):
    rows, control = made_up
    expected = score("alpaca-eval", write(tmp_path / "a.jsonl", rows), *control)[0]
    figures, said = score("alpaca-eval", write(tmp_path / "b.jsonl", upstream(rows)), *control)
    assert figures == {metric: pytest.approx(expected[metric]) for metric in ("win_rate", "mean_length")}
    assert said[0].startswith("length-controlled win rate: left out, since no row is of an instruction of AlpacaEval")


@pytest.mark.parametrize(
    ("odd", "fields"),
    [
        ({"len_1": 5, "len_2": -3}, "index, len_1, len_2, preference"),
        ({"len_1": 5}, "index, len_1, preference"),
        ({"output_1": "a", "output_2": None}, "index, output_1, output_2, preference"),
        ({"len_1": 5, "len_2": 2.5}, "index, len_1, len_2, preference"),
    ],
)
def test_a_row_without_outputs_is_left_out_and_named(made_up, tmp_path, odd, fields):
    rows, control = made_up
    expected = score("alpaca-eval", write(tmp_path / "a.jsonl", rows[:-1]), *control)[0]
    path = write(tmp_path / "b.jsonl", [*rows[:-1], {"index": 59, **odd, "preference": 1.2}])
    figures, said = score("alpaca-eval", path, *control)
    assert figures == expected
    example = f"line 60, with the fields {fields}"
    assert said[0] == f"rows without outputs or their lengths, left out: 1 (the first: {example})"


def test_rows_of_the_same_instruction(made_up, tmp_path):
    rows, control = made_up
    expected = score("alpaca-eval", write(tmp_path / "a.jsonl", rows), *control)[0]
    rows[7]["preference"] = 1.25
    again = {**rows[7], "preference": 1.75}
    expected = score("alpaca-eval", write(tmp_path / "a.jsonl", rows), *control)[0]
    unjudged = {**rows[9], "preference": None}
    path = write(tmp_path / "a.jsonl", [*rows[:9], unjudged, *rows[9:], rows[3], rows[4], again, unjudged])
    figures, said = score("alpaca-eval", path, *control)
    assert figures == expected
    assert said[:-1] == [
        "rows without a preference: 2 (the first: line 10, None)",
        "rows without a judgment that a later row has, left out: 1 (the first: line 11, instruction 9)",
        "rows that repeat an earlier one, left out: 2 (the first: line 62, instruction 3)",
        "rows that contradict an earlier one, left out: 1 (the first: line 64, instruction 7: 1.75 after 1.25)",
        "rows without a judgment that an earlier row has, left out: 1 (the first: line 65, instruction 9)",
    ]


def test_several_models_in_one_file(made_up, tmp_path):
    rows, control = made_up
    control += ["--questions", tmp_path / "q.jsonl"]
    mine = upstream(rows)
    expected = score("alpaca-eval", write(tmp_path / "a.jsonl", mine), *control)
    path = write(tmp_path / "b.jsonl", [*mine, *upstream(rows, generator_2="other", preference=2)])
    assert score("alpaca-eval", path, *control, "--model", "mine") == expected
    assert refused("alpaca-eval", path, *control).endswith("several models; name one: --model 'mine' | 'other'")
    assert "no judgments of 'nobody', but of 'mine', 'other'" in refused(
        "alpaca-eval", path, *control, "--model", "nobody"
    )
    path = write(tmp_path / "b.jsonl", [*mine, *upstream(rows, annotator="another")])
    assert "several names as annotator: 'another', 'judge'" in refused("alpaca-eval", path, *control)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "a.json has no rows"),
        ("[]", "a.json has no rows"),
        ("[1]", "a.json, item 1 is no JSON object but 1"),
        (
            '{"a": 1}',
            "has no row with output_1 and output_2 (or len_1 and len_2) and a preference in [1, 2]; its first row",
        ),
        ('{"index": 0, "len_1": 1, "len_2": 2, "preference": 5}', "and a preference in [1, 2]"),
        ('[\n{"index": 0},\n{"index": }\n]', "a.json is not JSON: Expecting value, line 3, column 11"),
        ('[{"index": 0, "index": 1}]', "it has the key 'index' twice"),
        ("{\n}", "line 1 is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("PAR1", "it is a Parquet file"),
    ],
)
def test_a_file_that_cannot_be_scored(tmp_path, made_up, content, said):
    (tmp_path / "a.json").write_text(content)
    assert said in refused("alpaca-eval", tmp_path / "a.json", *made_up[1])


def test_packed_files_that_are_damaged(tmp_path, made_up, monkeypatch):
    rows, control = made_up
    whole = gzip.compress(json.dumps(rows).encode())
    path = tmp_path / "a.json.gz"
    for content in (whole[:-9], whole[:30], b"\x1f\x8bnothing", whole[:40] + b"\0\0\0\0" + whole[44:]):
        path.write_bytes(content)
        assert "a.json.gz is a damaged gzip archive" in refused("alpaca-eval", path, *control)
    path.write_bytes(whole)
    monkeypatch.setattr(text_files, "_LARGEST", 100)
    assert "a.json.gz holds more than 100 bytes" in refused("alpaca-eval", path, *control)
    path.write_bytes(gzip.compress(b"\xff\xfe"))
    assert "not UTF-8 text" in refused("alpaca-eval", path, *control)


@pytest.mark.parametrize(
    ("option", "row", "said"),
    [
        ("--difficulty", {"index": 1}, "line 1 has no field 'instruction_difficulty'. (--difficulty)"),
        ("--difficulty", {"index": "one", "instruction_difficulty": 1}, "index is 'one'; it must be a whole number"),
        ("--difficulty", {"index": 1, "instruction_difficulty": None}, "instruction_difficulty is None"),
        ("--gamed", {"index": 1, "std_delta_len": 1}, "line 1 has no field 'preference'. (--gamed)"),
        ("--gamed", {"index": 1, "std_delta_len": 1, "preference": 1.5}, "preference is 1.5; it must lie in [0, 1]"),
        ("--gamed", {"index": 99, "std_delta_len": 1, "preference": 1}, "instruction 99 has no difficulty"),
        ("--questions", {"index": 1}, "line 1: instruction is None; it must be a text"),
        ("--questions", {"index": 1.5, "instruction": "a"}, "index is 1.5; it must be a whole number"),
    ],
)
def test_files_of_length_control_that_are_wrong(tmp_path, made_up, option, row, said):
    rows, control = made_up
    path = write(tmp_path / "x.jsonl", [row])
    assert said in refused("alpaca-eval", write(tmp_path / "a.jsonl", rows), *control, option, path)


def test_a_difficulty_given_twice(tmp_path, made_up):
    rows, control = made_up
    path = write(tmp_path / "x.jsonl", [{"index": 1, "instruction_difficulty": value} for value in (0.5, 0.5, 0.25)])
    said = refused("alpaca-eval", write(tmp_path / "a.jsonl", rows), *control, "--difficulty", path)
    assert "line 3: instruction 1 has the difficulty 0.25, and 0.5 before" in said


@pytest.mark.parametrize("c", ["0", "-1", "nan", "inf"])
def test_a_penalty_that_is_none(tmp_path, made_up, c):
    rows, control = made_up
    assert "must be a number above 0" in refused("alpaca-eval", write(tmp_path / "a.jsonl", rows), *control, "--c", c)


def test_a_person_is_shown_a_table(made_up, tmp_path):
    rows, control = made_up
    result = CliRunner().invoke(
        app, ["score", "alpaca-eval", str(write(tmp_path / "a.jsonl", rows)), *map(str, control)]
    )
    lines = result.stdout.splitlines()
    assert lines[0] == "AlpacaEval 2: the model, judged by a judge that the file does not name"
    assert [line.split()[0] for line in lines[3:]] == ["win", "length", "mean"]
    assert max(map(len, lines)) <= 80


def instructions():
    return {row["index"]: row["instruction"] for _, row in read_objects(BENCH / "alpaca_eval_prompts.jsonl.gz", "")}


@needs_bench
def test_the_digests_are_of_the_benchmarks_instructions():
    texts = instructions()
    assert [instruction_index(texts[index]) for index in range(805)] == [*range(805)]
    assert instruction_index(f"\n{texts[5]} ") == 5
    assert instruction_index(texts[5] + "x") is instruction_index("\ud800") is None


@needs_bench
def test_upstreams_annotations_need_no_index(tmp_path):
    """annotations.json of a published model, put together again from its parts, shuffled, and 3 rows short."""
    texts = instructions()
    compact = BENCH / "alpaca_eval_annotations_vicuna-7b-v1.5.jsonl.gz"
    rows = [row for _, row in read_objects(compact, "")]
    random.Random(3).shuffle(rows)
    whole = [{**new, "instruction": texts[row["index"]]} for row, new in zip(rows, upstream(rows), strict=True)]
    control = ["--difficulty", BENCH / "alpaca_eval_instruction_difficulty.jsonl"]
    control += ["--gamed", BENCH / "alpaca_eval_gamed_baselines.jsonl.gz"]
    expected = score("alpaca-eval", compact, *control)[0]
    assert score("alpaca-eval", write(tmp_path / "a.jsonl", whole), *control)[0] == expected
    short, by_index = write(tmp_path / "b.jsonl", whole[3:]), write(tmp_path / "c.jsonl", rows[3:])
    found = score("alpaca-eval", short, *control)[0]
    assert found == score("alpaca-eval", by_index, *control)[0]
    assert {n for _, n in found.values()} == {802}
    assert found["length_controlled_win_rate"][0] == pytest.approx(expected["length_controlled_win_rate"][0], abs=0.1)


@needs_bench
def test_805_annotations_take_two_seconds_at_most():
    """Of the processor, imports included, since a busy machine is slow; and nothing heavy is imported."""
    code = "import sys; from metareward.cli.main import app; app(standalone_mode=False); "
    code += "print(*sys.modules, file=sys.stderr)"
    command = ["score", "alpaca-eval", BENCH / "alpaca_eval_annotations_vicuna-7b-v1.5.jsonl.gz", "--json"]
    command += ["--difficulty", BENCH / "alpaca_eval_instruction_difficulty.jsonl"]
    command += ["--gamed", BENCH / "alpaca_eval_gamed_baselines.jsonl.gz"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2
    assert set(json.loads(done.stdout)) == {"win_rate", "length_controlled_win_rate", "mean_length"}
    assert not {"torch", "sklearn", "scipy", "pandas", "huggingface_hub"} & set(done.stderr.split())
