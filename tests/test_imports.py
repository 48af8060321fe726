"""`metareward import`: files of others' become the pool and the ranked replies that the pipeline reads."""

import gzip
import json
import random
import re
import time

import polars as pl
import pytest
from typer.testing import CliRunner

from metareward.cli.main import app
from metareward.errors import UserError
from metareward.inputs.oasst import read_oasst
from metareward.inputs.pool import read_prompts
from metareward.inputs.prompt_files import read_prompt_file
from metareward.inputs.replies import read_replies


def message(id_, text, role="assistant", lang="en", replies=(), **fields):
    return {"message_id": id_, "text": text, "role": role, "lang": lang, "replies": list(replies)} | fields


def tree(id_, text, *replies, **fields):
    prompt = message(id_, text, "prompter", replies=replies, **fields)
    return {"message_tree_id": id_, "tree_state": "ready_for_export", "prompt": prompt}


LATER = message("l", "And then?", "prompter", replies=[message("m", "Then this."), message("n", "Or that.")])
TREES = [
    # ranks begin at 0, need not be dense, and stand in any order
    tree(
        "1",
        "Why is the sky blue?",
        message("1c", "Because.", rank=4, replies=[LATER]),
        message("1a", "Light is scattered.", rank=0),
        message("1b", "It reflects the sea.", rank=2, labels={"quality": {"value": 0.1, "count": 3}}),
        message("1d", "Buy my shoes!", rank=5, review_result=False),
        message("1e", "Gone.", rank=1, deleted=True),
        message("1f", "Himmel.", rank=3, lang="de"),
        message("1g", "Nobody ranked me."),
        message("1h", "Because.", rank=6),
        message("1i", "As a language model, I do not know.", rank=7, synthetic=True),
        message("1j", " \n", rank=8),
    ),
    tree("2", "Only one ranked reply?", message("2a", "Yes.", rank=0), message("2b", "No rank.", rank=None)),
    tree("3", "Warum?", message("3a", "Darum.", rank=0, lang="de"), message("3b", "So.", rank=1), lang="de"),
    tree("4", "Deleted?", message("4a", "Yes.", rank=0), message("4b", "No.", rank=1), deleted=True),
    tree("5", "Why is the sky blue?", message("5a", "Physics.", rank=0), message("5b", "Magic.", rank=1)),
    tree("6", "Nobody replied."),
    tree("7", "Name a\ncolour.", message("7a", "Red.", rank=1), message("7b", "Blue.", rank=0), review_result=True),
]
KEPT = {
    "Why is the sky blue?": [
        (1, "Light is scattered.", "1a"),
        (2, "It reflects the sea.", "1b"),
        (3, "Because.", "1c"),
    ],
    "Name a\ncolour.": [(1, "Blue.", "7b"), (2, "Red.", "7a")],
}


def messages_of(trees):
    """The same as one message a line, the last tree first and each reply before what it replies to."""
    rows, waiting = [], [(None, tree["prompt"]) for tree in trees]
    while waiting:
        parent, node = waiting.pop()
        waiting += [(node["message_id"], reply) for reply in node["replies"]]
        rows.append({name: value for name, value in node.items() if name != "replies"} | {"parent_id": parent})
    return rows


def write(path, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["trees.jsonl", "trees.jsonl.gz", "messages.jsonl", "messages.jsonl.gz"])
def test_ranked_replies_of_first_turns_are_kept_and_all_else_is_counted(tmp_path, name):
    rows = TREES if "trees" in name else messages_of(TREES)
    found = read_oasst(write(tmp_path / name, rows), "en")
    if "trees" in name:
        assert found.prompts == KEPT
    else:  # the earlier of two equal prompts is another one here
        assert set(found.prompts) == set(KEPT)
    assert found.n_later == 3
    assert (found.n_prompts, found.n_replies) == (7, 20)
    assert found.n_prompts == len(found.prompts) + found.prompts_out.total()
    assert found.n_replies == found.kept + found.replies_out.total()


def test_every_reason_has_its_count(tmp_path):
    found = read_oasst(write(tmp_path / "trees.jsonl", TREES), "en")
    assert found.prompts_out == {
        "fewer than two ranked replies": 2,
        "in another language": 1,
        "deleted": 1,
        "the same text as an earlier prompt, whose ranks are others": 1,
    }
    assert found.replies_out == {
        "rejected by review": 1,
        "deleted": 1,
        "in another language": 1,
        "no rank": 2,
        "the same text as a better reply": 1,
        "written by a model": 1,
        "no text": 1,
        "to a prompt that was left out": 6,
        "no other ranked reply to the prompt": 1,
    }


def test_a_language_takes_its_regions(tmp_path):
    replies = [message(f"a{k}", f"Resposta {k}.", lang=lang, rank=k) for k, lang in enumerate(["pt-BR", "pt", "es"])]
    path = write(tmp_path / "trees.jsonl", [tree("a", "Porque?", *replies, lang="pt-BR")])
    assert [text for _, text, _ in read_oasst(path, "pt").prompts["Porque?"]] == ["Resposta 0.", "Resposta 1."]
    assert not read_oasst(path, "pt-BR").prompts
    assert not read_oasst(path, "p").prompts


def run(*arguments):
    result = CliRunner().invoke(app, ["import", *map(str, arguments)])
    assert isinstance(result.exception, UserError | None), result.exception
    return result.stdout if result.exception is None else str(result.exception)


def test_the_command_writes_what_the_pipeline_reads_and_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "trees.jsonl", TREES)
    printed = run("oasst", "trees.jsonl")
    replies = read_replies(tmp_path / "inputs/ranked_replies.jsonl", "eft.file")
    assert replies.select("prompt", "rank", "response").rows() == [
        (prompt, rank, text) for prompt, ranked in KEPT.items() for rank, text, _ in ranked
    ]
    assert "30 messages read: 7 prompts, 20 replies to them, 3 of later turns" in printed
    assert re.search(r"prompts: 2 kept, 5 left out\n +2  fewer than two ranked", printed)
    assert "next: dvc add inputs/ranked_replies.jsonl && git add inputs/ranked_replies.jsonl.dvc\n" in printed
    assert "eft.source: ranked" in printed
    assert re.search(r"inputs/ranked_replies.jsonl is there already.*--force", run("oasst", "trees.jsonl"))
    (tmp_path / "inputs/ranked_replies.jsonl").write_text("old")
    run("oasst", "trees.jsonl", "--force", "--language", "English")
    assert (tmp_path / "inputs/ranked_replies.jsonl").read_text().startswith('{"prompt": "Why')
    assert "(--language)" in run("oasst", "trees.jsonl", "--out", "other.jsonl", "--language", "fr")
    assert not (tmp_path / "other.jsonl").exists()


def test_held_out_replies_are_of_prompts_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    replies = [(message(f"{k}a", "Yes.", rank=0), message(f"{k}b", "No.", rank=1)) for k in range(20)]
    write(tmp_path / "trees.jsonl", [tree(str(k), f"Is it {k}?", *replies[k]) for k in range(20)])
    run("oasst", "trees.jsonl", "--held-out", 5)
    ranked, held_out = (
        read_replies(tmp_path / f"inputs/{name}_replies.jsonl", "eft.file") for name in ("ranked", "held_out")
    )
    assert (ranked.height, held_out.height) == (34, 6)  # whole prompts, so the sixth comes along
    assert not set(ranked["prompt"]) & set(held_out["prompt"])
    first = (tmp_path / "inputs/held_out_replies.jsonl").read_text()
    write(tmp_path / "trees.jsonl", [tree(str(k), f"Is it {k}?", *replies[k]) for k in reversed(range(20))])
    run("oasst", "trees.jsonl", "--held-out", 5, "--force")
    again = (tmp_path / "inputs/held_out_replies.jsonl").read_text()
    assert sorted(again.splitlines()) == sorted(first.splitlines())  # whatever the order of the file
    assert "(--held-out)" in run("oasst", "trees.jsonl", "--held-out", 40, "--force")


@pytest.mark.parametrize("kind", ["trees", "messages"])
def test_ten_thousand_trees_take_seconds(tmp_path, kind):
    rng = random.Random(1)
    labels = {name: {"value": 0.25, "count": 3} for name in ("spam", "quality", "toxicity", "humor", "creativity")}
    trees, expected = [], {}
    for k in range(10_000):
        lang, n = rng.choice(["en", "en", "es", "ru"]), rng.randrange(5)
        replies = [
            message(f"{k}-{i}", f"Reply {i} to {k}. " * 20, lang=lang, rank=i, labels=labels, replies=[LATER])
            for i in range(n)
        ]
        trees.append(tree(str(k), f"Prompt {k}?", *replies, lang=lang, labels=labels))
        if lang == "en" and n > 1:
            expected[f"Prompt {k}?"] = n
    path = write(tmp_path / f"{kind}.jsonl.gz", trees if kind == "trees" else messages_of(trees))
    start = time.process_time()
    found = read_oasst(path, "en")
    assert time.process_time() - start < 30
    assert {prompt: len(ranked) for prompt, ranked in found.prompts.items()} == expected
    replied = sum(len(tree["prompt"]["replies"]) for tree in trees)
    assert (found.n_prompts, found.n_replies, found.n_later) == (10_000, replied, 3 * replied)
    assert found.n_prompts == len(found.prompts) + found.prompts_out.total()
    assert found.n_replies == found.kept + found.replies_out.total()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "has no rows"),
        (b"{", "line 1 is not JSON"),
        (b"[]\n", "line 1 is no JSON object"),
        (b'{"a": 1}\n', "neither a tree .* but has a. "),
        (b'{"thread_id": "1", "thread": []}\n', "holds threads"),
        (b'{"message_tree_id": "1", "prompt": {"text": "a", "replies": 3}}\n', "replies is 3, not a list"),
        (b'{"message_tree_id": "1", "prompt": null}\n', "has no prompt"),
        (b'{"message_id": "1"}\n{"message_id": null}\n', "line 2 is no message"),
        (b'{"message_id": "1"}\n{"message_id": "1"}\n', "line 2 has the message '1' a second time"),
        (b"\x1f\x8b\x08\x00", "is a damaged gzip archive"),
        (gzip.compress(b"\n" * 9_999 + b'{"message_id": "1"}\n', mtime=0)[:-9], "is a damaged gzip archive"),
        (b'{"message_id": "\xff"}', "is not UTF-8 text"),
    ],
)
def test_a_file_that_is_no_export_is_refused_in_one_line(tmp_path, content, expected):
    path = tmp_path / "export.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"{expected}.*\(FILE\)$"):
        read_oasst(path, "en")
    with pytest.raises(UserError, match=r"No such file.*\(FILE\)$"):
        read_oasst(tmp_path / "none.jsonl", "en")
    with pytest.raises(UserError, match=r"it is a folder.*\(FILE\)$"):
        read_oasst(tmp_path, "en")


ROWS = [
    {"instruction": "Why is the sky blue?", "input": "", "kind": "explain"},
    {"instruction": " Translate. ", "input": "Guten Tag", "kind": ""},
    {"instruction": "Why is the sky blue?", "input": "", "kind": "other"},
    {"instruction": "", "input": "alone", "kind": "explain"},
    {"instruction": 'Say "a, b"\nin two lines.', "input": "", "kind": "writing"},
    {"instruction": "x" * 50, "input": "", "kind": "explain"},
]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json", "a.csv", "a.parquet"])
def test_prompts_of_every_kind_of_file(tmp_path, name):
    path, frame = tmp_path / name, pl.DataFrame(ROWS)
    if name == "a.json":
        path.write_text(json.dumps(ROWS, indent=1))
    elif name == "a.csv":
        frame.write_csv(path)
    elif name == "a.parquet":
        frame.write_parquet(path)
    else:
        write(path, ROWS)
    pool = read_prompt_file(path, category="kind", max_chars=40)
    assert pool.column == "instruction"
    assert pool.prompts == {
        "Why is the sky blue?": "explain",
        "Translate.": None,
        'Say "a, b"\nin two lines.': "writing",
    }
    assert pool.out == {"the same as an earlier one": 1, "empty": 1, "longer than 40 characters": 1}
    assert pool.n_rows == len(pool.prompts) + pool.out.total()
    assert "Translate.\n\nGuten Tag" in read_prompt_file(path, added="input").prompts


def chat(*turns, names=("role", "content")):
    return [dict(zip(names, turn, strict=True)) for turn in turns]


def test_chats_give_their_only_user_turn(tmp_path):
    share_gpt = ("from", "value")
    rows = [
        chat(("user", "One?")),
        chat(("user", "Two?"), ("assistant", "Two.")),
        chat(("system", ""), ("human", "Three?"), ("gpt", "Three."), names=share_gpt),
        chat(("system", "Be brief."), ("user", "Four?")),
        chat(("user", "Five?"), ("assistant", "Five."), ("user", "Six?")),
        chat(("assistant", "Hello.")),
        chat(("user", [{"type": "image"}])),
        chat(("user", None)),
        ["Seven?"],
        [],
    ]
    pool = read_prompt_file(write(tmp_path / "chats.jsonl", [{"id": k, "messages": row} for k, row in enumerate(rows)]))
    assert list(pool.prompts) == ["One?", "Two?", "Three?"]
    assert pool.out == {
        "a chat with a system turn": 1,
        "a chat with several user turns": 1,
        "a chat without a user turn": 2,
        "not text": 2,
        "empty": 1,
    }
    frame = pl.DataFrame({"conversations": rows[:2]})
    frame.write_parquet(tmp_path / "chats.parquet")
    assert list(read_prompt_file(tmp_path / "chats.parquet").prompts) == ["One?", "Two?"]


def test_the_command_makes_the_pool_that_prompts_file_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "alpaca.jsonl", ROWS)
    printed = run("prompts", "alpaca.jsonl", "--category", "kind", "--max-chars", 40)
    pool = read_prompts(tmp_path / "inputs/prompts.jsonl", "prompts.file")
    assert pool.select("prompt", "source").rows() == [
        ("Why is the sky blue?", "explain"),
        ("Translate.", "prompts"),
        ('Say "a, b"\nin two lines.', "writing"),
    ]
    assert "6 rows read, prompts from 'instruction'\nrows: 3 kept, 3 left out\n" in printed
    assert "next: dvc add inputs/prompts.jsonl && git add inputs/prompts.jsonl.dvc\n" in printed
    assert "is there already" in run("prompts", "alpaca.jsonl")
    assert "has no column 'no', but 'instruction', 'input', 'kind'. (--prompt)" in run(
        "prompts", "alpaca.jsonl", "--prompt", "no", "--force"
    )
    assert "no prompt that could be used" in run("prompts", "alpaca.jsonl", "--max-chars", 1, "--force")
    assert read_prompts(tmp_path / "inputs/prompts.jsonl", "prompts.file").equals(pool)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.jsonl", b"", "has no rows"),
        ("a.csv", b"prompt\n", "has no rows"),
        ("a.csv", b"prompt,b\none,1\ntwo\n", "line 3 has 1 values, and the first line has 2 columns"),
        ("a.csv", b'prompt\n"one', "no CSV: line 2"),
        ("a.csv", b"one\ntwo\n", "none of the columns prompt, .* but 'one'. Hint: --prompt"),
        ("a.json", b'{"prompt": ', "is not JSON"),
        ("a.json", b'["one"]', "item 1 is no JSON object"),
        ("a.parquet", b"PAR1 torn", "is not a readable Parquet file"),
    ],
)
def test_a_file_without_prompts_is_refused_in_one_line(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=expected):
        read_prompt_file(tmp_path / name)
    with pytest.raises(UserError, match="No such file"):
        read_prompt_file(tmp_path / "none")
