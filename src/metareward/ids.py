"""Content hashes: the ids of all tables, and the seeds of all draws."""

import hashlib

import polars as pl


def content_id(*parts: object) -> str:
    """16 hexadecimal digits (64 bits) that depend on the parts, their order and their number alone.

    Ids are hashes of what a row is made of, so the same row has the same id in every run and revision.
    Python's own `hash` is salted per process and would not do.
    """
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        text = str(part).encode()
        digest.update(len(text).to_bytes(8, "big"))
        digest.update(text)
    return digest.hexdigest()


def content_seed(*parts: object) -> int:
    """A seed in [0, 2**63) from the same hash: neighbours (sample 0, sample 1) share no stream."""
    return int(content_id(*parts), 16) >> 1


def content_ids(kind: str, *columns: str) -> pl.Expr:
    """`content_id` of each row's columns, behind the kind of thing they are; null counts as a value of its own.

    A Python call for each row: fine for one row of a completion or a pair.
    """
    return pl.struct(columns).map_elements(
        lambda row: content_id(kind, *(row[column] for column in columns)), return_dtype=pl.String
    )
