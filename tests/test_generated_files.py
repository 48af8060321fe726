"""A thousand damaged files for each reader: the rows that an independent reading gives, or one line."""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc.utils.serialize import load_yaml

from metareward.inputs.examples import read_eft
from metareward.inputs.pool import read_prompts
from metareward.inputs.replies import read_replies
from metareward.load_params import load_params, parse_params
from metareward.params import Formats
from metareward.templates.score import parse_score
from metareward.templates.texts import load_templates
from metareward.templates.winner import parse_winner

from damage import PARAMS, ROOT, damaged, load_templates_of_the_root, rows_or_refusal

KEY = "params.yaml: prompts.file"


def slow_rows(content: bytes, fields: dict[str, type], optional: tuple[str, ...] = ()) -> list[dict] | None:
    """What a file of JSON Lines says, field by field; None where it says nothing that can be meant."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    if "\0" in text:
        return None
    rows = []
    for line in re.split("\r\n|\r|\n", text):
        line = line[1:] if line[:1] == "\ufeff" else line
        if not rows and line[:1] == "\ufeff":
            line = line[1:]  # the file's own mark before one of an appended file
        if line.strip() == "":
            continue
        twice = []

        def pairs(found, twice=twice):
            if len({name for name, _ in found}) != len(found):
                twice.append(found)
            return dict(found)

        try:
            row = json.loads(line, object_pairs_hook=pairs)
        except (ValueError, RecursionError):
            return None
        if twice or type(row) is not dict or not set(fields) <= set(row):
            return None
        for name in optional:
            if row.get(name) in (None, ""):
                row.pop(name, None)
        for name, kind in {**fields, **{name: str for name in optional if name in row}}.items():
            value = row[name]
            if kind is str:
                if type(value) is not str or value.strip() == "" or re.search("[\ud800-\udfff]", value):
                    return None
            elif (
                type(value) not in (int, float)
                or value != value
                or abs(value) >= 2**63
                or (kind is int and value != int(value))
            ):
                return None
        rows.append(row)
    return rows or None


def generated(file: str, draw: random.Random, path: Path, n: int = 1000) -> Iterator[bytes]:
    """n damaged forms of the first lines of a sample file, each written to the path."""
    good = b"\n".join((ROOT / "data/samples" / file).read_bytes().split(b"\n")[:4])
    for _ in range(n):
        content = damaged(good, draw)
        path.write_bytes(content)
        yield content


def test_generated_prompts(tmp_path):
    path, kept = tmp_path / "p.jsonl", 0
    for content in generated("prompts.jsonl", random.Random(1), path):
        slow = slow_rows(content, {"prompt": str}, ("category",))
        expected = slow and list(
            {row["prompt"]: (row["prompt"], row.get("category", "p")) for row in slow[::-1]}.values()
        )
        found = rows_or_refusal(lambda: read_prompts(path, KEY).select("prompt", "source").rows())
        assert (found and sorted(found)) == (expected and sorted(expected)), content
        kept += found is not None
    assert 200 < kept < 800


def test_generated_replies(tmp_path):
    path, kept = tmp_path / "r.jsonl", 0
    for content in generated("eval_judged.jsonl", random.Random(2), path):
        rows = slow_rows(content, {"prompt": str, "response": str, "rank": int})
        expected = {}
        for row in rows or []:
            expected.setdefault((row["prompt"], row["response"]), row["rank"])
        ranks = {}
        for (prompt, _), rank in expected.items():
            ranks.setdefault(prompt, set()).add(rank)
        comparable = any(len(found) > 1 for found in ranks.values())
        found = rows_or_refusal(lambda: read_replies(path, KEY).select("prompt", "response", "rank").rows())
        if rows and comparable:
            assert {(prompt, response): rank for prompt, response, rank in found} == expected, content
            kept += 1
        else:
            assert found is None, content
    assert 200 < kept < 800


@pytest.mark.parametrize("kind", ["judge", "meta_judge", "compare"])
def test_generated_examples(tmp_path, kind):
    path, kept, texts = tmp_path / "e.jsonl", 0, load_templates_of_the_root()
    file, fields, target = {
        "judge": ("eft.jsonl", {"prompt": str, "response": str, "judgment": str, "score": float}, "judgment"),
        "meta_judge": (
            "meta_judge.jsonl",
            dict.fromkeys(["prompt", "response", "judgment_a", "judgment_b", "meta_judgment", "winner"], str),
            "meta_judgment",
        ),
        "compare": (
            "comparisons.jsonl",
            dict.fromkeys(["prompt", "response_a", "response_b", "comparison", "winner"], str),
            "comparison",
        ),
    }[kind]
    eft = PARAMS.eft.model_copy(update={"kinds": [kind], "file" if kind == "judge" else kind: str(path)})
    for content in generated(file, random.Random(3), path, 350):
        rows = slow_rows(content, fields)
        for row in rows or []:
            if kind == "judge":
                right = 0 <= row["score"] <= 5 and parse_score(row["judgment"], row["response"]).value == row["score"]
            else:
                right = parse_winner(row[target]).winner == row["winner"]
            rows = rows if right else None
        found = rows_or_refusal(lambda: read_eft(eft, texts, Formats("line", "line", "line"))["target"].to_list())
        assert (found is None) == (rows is None), content
        if found is not None:
            assert set(found) == {row[target] for row in rows}
            kept += 1
    assert 50 < kept < 300


def test_generated_params(tmp_path):
    """Read as parse_params reads what DVC's own reader makes of the file, or refused."""
    path, draw, kept = tmp_path / "params.yaml", random.Random(4), 0
    text = re.sub(r" *#.*", "", (ROOT / "profiles/tiny.yaml").read_text())
    for _ in range(250):  # the YAML reader takes ten times as long as the others
        content = damaged(text.encode(), draw)
        path.write_bytes(content)
        found = rows_or_refusal(lambda: load_params(path))
        if found is not None and kept < 50:
            assert found == parse_params(load_yaml(path)), content
        kept += found is not None
    assert 50 < kept < 200


def test_generated_templates(tmp_path):
    names = {name: str(ROOT / path) for name, path in PARAMS.templates.model_dump().items()}
    files, draw = PARAMS.templates.model_copy(update={**names, "judge": str(tmp_path / "judge.txt")}), random.Random(5)
    good, kept = (ROOT / "templates/judge.txt").read_bytes(), 0
    for _ in range(1000):
        content = damaged(good, draw)
        (tmp_path / "judge.txt").write_bytes(content)
        found = rows_or_refusal(lambda: load_templates(files))
        if found is not None:
            text = content.decode().removeprefix("\ufeff")
            assert found.judge == re.sub("\r\n|\r", "\n", text).strip()
            assert set(re.findall(r"\{(\w+)\}", text)) == {"rubric", "prompt", "response"}
            kept += 1
    assert 200 < kept < 900
