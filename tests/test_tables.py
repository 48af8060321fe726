"""Tables: what is declared is what is read and written."""

import os

import polars as pl
import pytest

from metareward.errors import UserError
from metareward.ids import content_id, content_seed
from metareward.schemas import SCHEMAS
from metareward.tables import TABLES, check_table, empty_table, read_table, scan_table, write_parts, write_table

ROWS = pl.DataFrame({"prompt_id": ["b", "a"], "prompt": ["two", "one"], "source": ["x", "x"]})


def test_rows_come_back_sorted_by_key(tmp_path):
    write_table(ROWS, tmp_path / "prompts.parquet", "prompts")
    assert read_table(tmp_path / "prompts.parquet", "prompts")["prompt_id"].to_list() == ["a", "b"]


def test_equal_rows_give_equal_bytes(tmp_path):
    write_table(ROWS, tmp_path / "one.parquet", "prompts")
    write_table(ROWS.reverse().select("source", "prompt", "prompt_id"), tmp_path / "two.parquet", "prompts")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


@pytest.mark.parametrize("name", sorted(TABLES))
def test_empty_table_is_a_table(name, tmp_path):
    write_table(empty_table(name), tmp_path / "empty.parquet", name)
    assert read_table(tmp_path / "empty.parquet", name).is_empty()


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (ROWS.drop("source"), "columns missing \\['source'\\]"),
        (ROWS.with_columns(extra=1), "columns unknown \\['extra'\\]"),
        (ROWS.with_columns(prompt=1), "wrong types .*prompt"),
        (ROWS.with_columns(prompt=pl.lit(None, pl.String)), "null in \\['prompt'\\]"),
        (ROWS.with_columns(prompt_id=pl.lit("a")), "share the key"),
    ],
)
def test_wrong_tables_are_named(frame, words):
    with pytest.raises(ValueError, match=words):
        check_table(frame, "prompts")


def test_writing_does_not_go_through_a_link(tmp_path):
    """DVC outputs are links into its cache: writing in place would change the cached version under its hash."""
    cached = tmp_path / "cached.parquet"
    write_table(ROWS, cached, "prompts")
    before = cached.read_bytes()
    os.link(cached, tmp_path / "prompts.parquet")
    write_table(ROWS.head(1), tmp_path / "prompts.parquet", "prompts")
    assert cached.read_bytes() == before
    assert read_table(tmp_path / "prompts.parquet", "prompts").height == 1


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_table_written_in_no_parts_is_an_empty_table(name, tmp_path):
    assert write_parts([], tmp_path / "empty.parquet", name) == dict.fromkeys(TABLES[name].columns, 0)
    assert read_table(tmp_path / "empty.parquet", name).is_empty()


def test_a_table_written_in_parts_is_the_table(tmp_path):
    frame = pl.DataFrame(
        {
            "example_id": ["a", "b", "c", "d", "e"],
            "kind": ["judge"] * 5,
            "messages": [[{"role": "user", "content": text}] for text in ("ä", "", "two\nlines", "4", "5")],
            "target": ["x", "y", "z", "", "w"],
            "score": [1.5, None, 0.0, None, 5.0],
        }
    )
    parts = [frame[1::-1], frame[:0], frame[2:3], frame[3:]]
    counts = write_parts(iter(parts), tmp_path / "parts.parquet", "eft")
    assert counts == {"example_id": 5, "kind": 5, "messages": 5, "target": 5, "score": 3}
    assert read_table(tmp_path / "parts.parquet", "eft").equals(frame)
    assert os.listdir(tmp_path) == ["parts.parquet"]


@pytest.mark.parametrize("second", ["a", "b"])
def test_parts_out_of_order_are_refused_and_leave_the_table_as_it_was(tmp_path, second):
    write_table(ROWS, tmp_path / "prompts.parquet", "prompts")
    parts = [ROWS.filter(prompt_id="b"), ROWS.head(1).with_columns(prompt_id=pl.lit(second))]
    with pytest.raises(ValueError, match=f"table prompts: rows of \\('{second}',\\) after those of \\('b',\\)"):
        write_parts(parts, tmp_path / "prompts.parquet", "prompts")
    assert read_table(tmp_path / "prompts.parquet", "prompts").height == 2


@pytest.mark.parametrize("read", [read_table, scan_table])
def test_a_torn_file_is_an_error_of_one_line(tmp_path, read):
    (tmp_path / "prompts.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="not a readable prompts table"):
        read(tmp_path / "prompts.parquet", "prompts")


def test_a_scanned_table_is_the_table(tmp_path):
    written = write_table(ROWS, tmp_path / "prompts.parquet", "prompts")
    assert scan_table(tmp_path / "prompts.parquet", "prompts").collect().equals(written)


@pytest.mark.parametrize("read", [read_table, scan_table])
def test_a_table_of_another_schema_is_refused(tmp_path, read):
    ROWS.with_columns(prompt=1).write_parquet(tmp_path / "prompts.parquet")
    with pytest.raises(ValueError, match=r"wrong types .*prompt"):
        read(tmp_path / "prompts.parquet", "prompts")


def test_ids_depend_on_parts_and_their_borders():
    assert content_id("a", "b") == content_id("a", "b")
    assert len({content_id("a", "b"), content_id("b", "a"), content_id("ab"), content_id("a", "b", "")}) == 4
    assert content_id("prompt", "Why?") == "b9877dd388247a7e"  # fixed: ids are stored in tables
    assert 0 <= content_seed("a") < 2**63


def test_every_table_and_column_says_what_it_is_in_one_line():
    assert list(SCHEMAS) == list(TABLES)
    for name, schema in SCHEMAS.items():
        lines = [schema.about, *(about for _, about in schema.columns.values())]
        for line in lines:
            assert 3 <= len(line) <= 110, (name, line)
            assert "\n" not in line
            assert not line.removesuffix("...").endswith("."), (name, line)
