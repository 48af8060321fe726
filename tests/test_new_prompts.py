"""Stage generate-prompts: what is asked, what is dropped and why, and that a killed run goes on."""

import json
import random
import re
import signal
import subprocess
import sys
import time

import polars as pl
import pytest

from metareward.engines.common.journal import COMPLETIONS
from metareward.inputs.pool import read_prompts
from metareward.params import GeneratePrompts
from metareward.roles.new_prompts import new_prompt_requests, next_round, read_new_prompt, read_new_prompts
from metareward.selection.near_duplicates import find_near_duplicates
from metareward.selection.new_prompts import select_new_prompts
from metareward.tables import check_table, read_table

from pipeline import Clone

SETTINGS = GeneratePrompts(
    n=10,
    seeds="seeds.jsonl",
    template="template.txt",
    checkpoint="seed",
    shots=3,
    temperature=0.6,
    top_p=0.9,
    max_tokens=64,
    similarity=0.7,
    attempts=5,
)
SEEDS = [f"Name {k} rivers of a country." for k in range(20)]


def rouge_l(a, b):
    """F1 of the longest common subsequence, by the textbook."""
    a, b = (re.findall(r"\w+", text.lower()) for text in (a, b))
    row = [0] * (len(b) + 1)
    for word in a:
        above = row
        row = [0]
        for k, other in enumerate(b):
            row.append(above[k] + 1 if word == other else max(above[k + 1], row[k]))
    return 2 * row[-1] / (len(a) + len(b))


def test_near_duplicates_are_those_of_rouge_l():
    rng = random.Random(3)
    words = [f"w{k}" for k in range(12)]
    texts = [" ".join(rng.choices(words, k=rng.randrange(3, 9))) for _ in range(700)]  # more than two batches
    found = find_near_duplicates(texts, 0.7, n_known=20)
    kept = list(range(20))
    for place in range(20, len(texts)):
        scores = {other: rouge_l(texts[place], texts[other]) for other in kept}
        best = max(scores.values())
        if best > 0.7 + 1e-9:
            assert found[place].similarity == pytest.approx(best)
            assert scores[found[place].place] == pytest.approx(best)
        else:
            assert found[place] is None
            kept.append(place)
    assert 100 < len(kept) < 600
    assert found[:20] == [None] * 20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Why is the sky blue? \n", ("Why is the sky blue?", None)),
        ("9. Why is the sky blue?", ("Why is the sky blue?", None)),
        ("**Task 9:** Sing a song.", ("Sing a song.", None)),
        ('Task 9: "Why is the sky blue?"', ("Why is the sky blue?", None)),
        ('"One" and "two" of them', ('"One" and "two" of them', None)),
        ("Write a haiku:\n- about rain\n- in German", ("Write a haiku:\n- about rain\n- in German", None)),
        ("1984 is a novel. Who wrote it?", ("1984 is a novel. Who wrote it?", None)),
        ("Why not?", ("Why not?", "too_short")),
        ("Task:", (None, "empty")),
        (" ", (None, "empty")),
    ],
)
def test_the_prompt_is_read_without_its_number_or_label(text, expected):
    assert read_new_prompt(text, None, "stop") == expected


def test_what_was_cut_or_never_written_is_no_prompt():
    assert read_new_prompt("Write a long and winding", None, "length") == (None, "length")
    assert read_new_prompt(None, None, "too_long") == (None, "prompt_too_long")
    assert read_new_prompt(None, "Hm.", "stop") == (None, "only_thought")


def test_of_a_list_the_last_whole_item_is_the_prompt():
    text = "9. Why is the sky blue?\n10. How do I mend a\ntorn sail?\n11. Write a long"
    assert read_new_prompt(text, None, "length") == ("How do I mend a\ntorn sail?", None)
    assert read_new_prompt(text, None, "stop") == ("Write a long", None)
    assert read_new_prompt("1. Write a long and", None, "length") == (None, "length")
    assert read_new_prompt("Add these:\n2.5 and 3", None, "stop") == ("Add these:\n2.5 and 3", None)


def test_every_request_shows_other_seeds_and_the_same_ones_each_time():
    def ask(seed, positions):
        return [*new_prompt_requests(SEEDS, "Like these:\n{shots}\nMore!", SETTINGS, seed, positions)]

    requests = ask(1, range(40))
    shown = [re.findall(r"^\d\. (.*)$", request.messages[0]["content"], re.MULTILINE) for request in requests]
    assert all(len(set(shots)) == 3 and set(shots) <= set(SEEDS) for shots in shown)
    assert len({tuple(shots) for shots in shown}) == 40
    assert len({request.id for request in requests}) == 40
    assert ask(1, range(30, 40)) == requests[30:]  # a later round does not depend on how the first were cut
    assert not {request.id for request in ask(2, range(40))} & {request.id for request in requests}


def test_rounds_go_on_until_there_are_enough_or_attempts_are_used_up():
    assert next_round(SETTINGS, 0, 0) == 10
    assert next_round(SETTINGS, 10, 10) == next_round(SETTINGS, 50, 3) == 0
    assert next_round(SETTINGS, 10, 4) == 15  # six missing at 5/11 each, and a tenth more
    assert next_round(SETTINGS, 10, 0) == 40


def test_what_is_dropped_is_counted_with_its_reason():
    texts = [
        "Name 3 rivers of a country.",  # a seed
        "How do I mend a torn sail?",
        "How do I mend a torn old sail?",
        "How do I mend a torn sail?",
        None,
        "Which bird sings first at dawn?",
        "Sing it!",
        "What does a comet's tail point away from?",
    ]
    completions = pl.DataFrame(
        [
            {"request_id": f"r{k}", "sample": 0, "text": text, "n_tokens": 9, "finish_reason": "stop"}
            for k, text in enumerate(texts)
        ],
        schema=COMPLETIONS,
    ).reverse()
    rows = read_new_prompts(completions, [f"r{k}" for k in range(len(texts))], 0)
    table = check_table(select_new_prompts(rows, SEEDS, 0.7, 2), "new_prompts")
    assert table["dropped"].to_list() == [
        *("duplicate", None, "near_duplicate", "duplicate", "prompt_too_long", None, "too_short", "not_needed")
    ]
    assert table.row(2, named=True)["similar_to"] == texts[1]
    assert table.row(2, named=True)["similarity"] == pytest.approx(rouge_l(texts[1], texts[2]))


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    clone = Clone(tmp_path_factory.mktemp("new_prompts"))
    clone.use_tiny_profile(
        prompts__file="data/prompts/generated.jsonl",
        prompts__generate__n=20,
        prompts__generate__max_tokens=160,
        prompts__generate__attempts=40,
    )
    clone.run("mkdir -p models && cp -r tiny/model models/seed")
    return clone


def test_the_stage_fills_the_pool_and_a_killed_run_goes_on(clone):
    stage = [sys.executable, "stages/generate_prompts.py"]
    running = subprocess.Popen(stage, cwd=clone.folder, env=clone.environment(), stderr=subprocess.DEVNULL)
    journal = clone.folder / ".work/generate_prompts"
    while running.poll() is None and not list(journal.glob("*/*.parquet")):
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    running.wait()
    printed = clone.run("python stages/generate_prompts.py")
    assert re.search(r"generate_prompts: 20 new prompts of \d+ requests; dropped: \d+ length", printed)
    table = read_table(clone.folder / "data/prompts/generated.parquet", "new_prompts")
    pool = read_prompts(clone.folder / "data/prompts/generated.jsonl", "prompts.file")
    assert pool["prompt"].to_list() == table.filter(pl.col("dropped").is_null())["prompt"].to_list()
    assert pool.height == 20
    counts = json.loads((clone.folder / "data/prompts/generated.json").read_text())
    assert counts["requests"] == table.height == counts["prompts"] + sum(counts["dropped"].values())
    written = (clone.folder / "data/prompts/generated.parquet").read_bytes()
    clone.run("rm -r .work data/prompts && python stages/generate_prompts.py")
    assert (clone.folder / "data/prompts/generated.parquet").read_bytes() == written  # as if nothing had been killed


def test_check_and_plan_know_a_pool_that_is_yet_to_be_written(clone):
    clone.run("rm -rf data/prompts")
    assert "in order" in clone.run("metareward check")
    assert re.search(r"generate-prompts +. +20 ", clone.run("metareward plan"))
    for change, expected in {
        "s/^    n: 20$/    n: 7/": "n is 7; 2 iterations of 4 need 8. (params.yaml: prompts.generate.n)",
        "s/^    shots: 8$/    shots: 900/": "shots is 900, and data/samples/prompts.jsonl has 192 different prompts",
        "s#^    template: .*#    template: templates/rubric.txt#": "has no {shots}",
        "s#^    seeds: .*#    seeds: data/prompts/generated.jsonl#": "prompts.generate.seeds)",
    }.items():
        clone.run("git checkout --quiet -- params.yaml")
        printed = clone.run(f"sed --in-place '{change}' params.yaml; metareward check", returncode=2)
        assert expected in printed, printed
    clone.run("git checkout --quiet -- params.yaml")


def test_a_pool_that_came_out_too_small_is_refused_where_it_is_used(clone):
    clone.run("mkdir -p data/prompts")
    (clone.folder / "data/prompts/generated.jsonl").write_text('{"prompt": "Only one."}\n')
    printed = clone.run("python stages/prompts.py m1", returncode=2)
    assert "has 1 different prompts; 2 iterations of 4 need 8; prompts.generate says how many" in printed


def test_where_params_name_a_pool_the_stage_loads_no_model_and_writes_nothing(clone):
    clone.run(
        "sed --in-place 's#^  file: data/prompts/generated.jsonl#  file: data/samples/prompts.jsonl#' params.yaml"
    )
    clone.run("rm -rf models/seed data/prompts && python stages/generate_prompts.py")
    assert (clone.folder / "data/prompts/generated.jsonl").read_text() == ""
    assert read_table(clone.folder / "data/prompts/generated.parquet", "new_prompts").is_empty()
