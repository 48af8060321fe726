"""Files that users write: the right rows, or one line that names the file, the place and the reason."""

import json
import os
from pathlib import Path

import pytest

from metareward.inputs.check import check_inputs
from metareward.inputs.examples import formats_of, read_eft
from metareward.inputs.pool import read_prompts
from metareward.inputs.replies import read_replies
from metareward.templates.texts import load_templates

from damage import PARAMS, ROOT, load_templates_of_the_root, refusal

KEY = "params.yaml: prompts.file"


# JSON Lines: what is refused


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt": "\\ud83d"}', "line 2: prompt is '\\ud83d'; it has half of a surrogate pair"),
        ('{"prompt": "b", "category": "\\udc00"}', "line 2: category is '\\udc00'; it has half of a surrogate pair"),
        ('{"prompt": "b", "x": ' + "[" * 100_000, "line 2 is nested too deeply"),
        ('{"prompt": ' + "[" * 900 + "]" * 900 + "}", "line 2: prompt is [[[[...]]]]; it must be a text"),
        ('{"prompt": ' + "9" * 5000 + "}", "line 2 is not JSON: Exceeds the limit (4300"),
        ('{"prompt": ' + "9" * 4000 + "}", "line 2: prompt is 9999"),
        ('{"prompt": NaN}', "line 2: prompt is nan; it must be a text that is not empty"),
        ('{"prompt": "b", "prompt": "c"}', "line 2 is not JSON: it has the key 'prompt' twice"),
        ('{"prompt": "b", "\\ud83d": 1, "\\ud83d": 2}', "it has the key '\\ud83d' twice"),
        ('{"prompt": 5}', "line 2: prompt is 5; it must be a text"),
        ('{"prompt": true}', "line 2: prompt is True; it must be a text"),
        ('{"prompt": null}', "line 2: prompt is None; it must be a text"),
        ('{"prompt": ["b"]}', "line 2: prompt is ['b']; it must be a text"),
        ('{"prompt": "\\u2028 \\u00a0"}', "it must be a text that is not empty"),
        ('{"prompt": "b", "category": ["x"]}', "line 2: category is ['x']; it must be a text"),
        ('{"prompt": "b", "category": 3}', "line 2: category is 3; it must be a text"),
        ('{"prompt": "b", "category": " "}', "line 2: category is ' '; it must be a text"),
        ("{'prompt': 'b'}", "line 2 is not JSON: Expecting property name enclosed in double quotes, column 2"),
        ('{"prompt": "b",}', "line 2 is not JSON"),
        ('{"prompt": "b"} {"prompt": "c"}', "line 2 is not JSON: Extra data, column 17"),
        ('{"prompt": "b', "line 2 is not JSON"),
        ('["b"]', "line 2 is no JSON object; JSON Lines has one object on each line"),
        ('"b"', "line 2 is no JSON object"),
        ("// b", "line 2 is not JSON"),
        ('{"prompt": "a\tb"}', "line 2 is not JSON: Invalid control character"),
    ],
)
def test_a_line_that_is_refused(tmp_path, line, said):
    path = tmp_path / "p.jsonl"
    path.write_text(f'{{"prompt": "a"}}\n{line}\n')
    assert said in refusal(read_prompts, path, KEY)


@pytest.mark.parametrize(
    ("rank", "said"),
    [
        ("true", "rank is True; it must be a whole number"),
        ("1.5", "rank is 1.5; it must be a whole number"),
        ("NaN", "rank is nan; it must be a whole number"),
        ("-Infinity", "rank is -inf; it must be a whole number"),
        ("1e999", "rank is inf; it must be a whole number"),
        ("1e300", "it must be a whole number"),
        ("9223372036854775808", "it must be a whole number"),
        ('"1"', "rank is '1'; it must be a whole number"),
    ],
)
def test_a_rank_that_is_refused(tmp_path, rank, said):
    path = tmp_path / "r.jsonl"
    path.write_text(f'{{"prompt": "a", "response": "b", "rank": {rank}}}\n')
    assert said in refusal(read_replies, path, KEY)


@pytest.mark.parametrize("score", ["NaN", "Infinity", "1e999", "true", "null", '"4"', "[4]"])
def test_a_score_that_is_refused(tmp_path, score):
    path = tmp_path / "e.jsonl"
    path.write_text(f'{{"prompt": "a", "response": "b", "judgment": "Score: 4", "score": {score}}}\n')
    eft = PARAMS.eft.model_copy(update={"file": str(path), "kinds": ["judge"]})
    assert "score is" in refusal(read_eft, eft, load_templates_of_the_root(), formats_of(PARAMS))


# JSON Lines: what is read


@pytest.mark.parametrize(
    "content",
    [
        '{"prompt": "a"}\n{"prompt": "b", "category": null}\n',
        '{"prompt": "a"}\r\n\r\n{"prompt": "b", "category": ""}\r\n',
        '\ufeff{"prompt": "a"}\n{"prompt": "b"}',
        '{"prompt": "a"}\n\ufeff{"prompt": "b"}\n',
        '  {"prompt":"a", "other": ["\\ud83d", NaN, null]}  \n\n\n\t{"prompt": "b"}\n',
        '{"prompt": "a"}\r{"prompt": "b"}\r{"prompt": "a"}',
    ],
)
def test_what_is_plain_is_read(tmp_path, content):
    path = tmp_path / "mine.jsonl"
    path.write_bytes(content.encode())
    assert read_prompts(path, KEY).select("prompt", "source").rows() == [("a", "mine"), ("b", "mine")]


def test_separators_inside_a_text_do_not_end_a_line(tmp_path):
    path = tmp_path / "mine.jsonl"
    text = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\n\r\n\ufeff\x00 \U0001f600"
    long = "x" * 5_000_000
    lines = [
        json.dumps({"prompt": text}, ensure_ascii=False),
        json.dumps({"prompt": long}),
        '{"prompt": "\\ud83d\\ude00"}',
    ]
    path.write_bytes("\n".join(lines).encode())
    assert read_prompts(path, KEY)["prompt"].to_list() == [text, long, "\U0001f600"]


def test_a_rank_may_be_written_as_a_float(tmp_path):
    path = tmp_path / "r.jsonl"
    rows = [{"prompt": "a", "response": "b", "rank": 1.0}, {"prompt": "a", "response": "c", "rank": 2}]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert read_replies(path, KEY)["rank"].to_list() == [1, 2]


# files that are no text files


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("\ufeff{}".encode("utf-16-le"), "is not UTF-8 text: it is UTF-16 text; save it as plain text in UTF-8"),
        ("{}".encode("utf-16"), "it is UTF-16 text"),
        ("\ufeff{}".encode("utf-32-be"), "it is UTF-32 text"),
        ("{}".encode("utf-16-le"), "line 1 has a NUL byte"),
        ('{"prompt": "é"}'.encode("latin-1"), "is not UTF-8 text: line 1 has the byte 0xe9"),
        (b'{"prompt": "a"}\n{"prompt": "\xed\xa0\xbd"}', "is not UTF-8 text: line 2 has the byte 0xed"),
        (b"\x1f\x8b\x08\x00", "it is a gzip archive"),
        (b"PK\x03\x04", "it is a zip archive"),
        (b"PAR1\x00", "it is a Parquet file"),
        (b"", "has no rows"),
        (b"\xef\xbb\xbf\r\n \r\n", "has no rows"),
    ],
)
def test_a_file_that_is_no_text(tmp_path, content, said):
    path = tmp_path / "p.jsonl"
    path.write_bytes(content)
    assert said in refusal(read_prompts, path, KEY)


def test_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("x")
    assert "is a folder" in refusal(read_prompts, tmp_path, KEY)
    assert "no ordinary file" in refusal(read_prompts, tmp_path / "pipe", KEY)
    assert "no ordinary file" in refusal(read_prompts, Path("/dev/null"), KEY)
    assert "symbolic links" in refusal(read_prompts, tmp_path / "loop", KEY)
    assert "No such file" in refusal(read_prompts, tmp_path / "broken", KEY)
    assert "Not a directory" in refusal(read_prompts, tmp_path / "file/x", KEY)
    assert "File name too long" in refusal(read_prompts, tmp_path / ("x" * 300), KEY)
    assert "null byte" in refusal(read_prompts, Path("a\0b"), KEY)
    assert "cannot be read" in refusal(read_prompts, Path("a\ud83db"), KEY)
    assert r"a\nb.jsonl cannot be read" in refusal(read_prompts, Path("a\nb.jsonl"), KEY)
    assert r"\x1b[31m" in refusal(read_prompts, Path("\x1b[31m"), KEY)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(tmp_path):
    (tmp_path / "p.jsonl").write_text("{}")
    (tmp_path / "p.jsonl").chmod(0)
    assert "Permission denied" in refusal(read_prompts, tmp_path / "p.jsonl", KEY)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfeR\x00", "rubric.txt is not UTF-8 text: it is UTF-16 text"),
        (b"Points\x00", "rubric.txt is no text: line 1 has a NUL byte"),
        (b"Points: \xe9", "line 1 has the byte 0xe9"),
        (b"\xef\xbb\xbf \n", "rubric.txt is empty"),
        (b"{points}", "has {points}, which nothing fills; known: none"),
    ],
)
def test_a_template_that_is_refused(tmp_path, content, said):
    (tmp_path / "rubric.txt").write_bytes(content)
    names = {name: str(ROOT / path) for name, path in PARAMS.templates.model_dump().items()}
    files = PARAMS.templates.model_copy(update={**names, "rubric": str(tmp_path / "rubric.txt")})
    line = refusal(load_templates, files)
    assert said in line
    assert line.endswith("(params.yaml: templates.rubric)")


def test_a_template_with_a_mark_and_other_line_ends_is_the_same(tmp_path):
    text = (ROOT / PARAMS.templates.judge).read_text()
    (tmp_path / "judge.txt").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    names = {name: str(ROOT / path) for name, path in PARAMS.templates.model_dump().items()}
    found = load_templates(PARAMS.templates.model_copy(update={**names, "judge": str(tmp_path / "judge.txt")}))
    assert found == load_templates(PARAMS.templates.model_copy(update=names))


# examples that are not used


def test_dvc_wants_a_file_that_no_kind_uses(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    unused = str(tmp_path / "compare.jsonl")
    params = PARAMS.model_copy(update={"eft": PARAMS.eft.model_copy(update={"compare": unused, "kinds": ["judge"]})})
    line = refusal(check_inputs, params)
    assert "compare.jsonl is not there" in line
    assert "DVC tracks it" in line
    assert line.endswith("(params.yaml: eft.compare)")
    Path(unused).touch()
    check_inputs(params)
