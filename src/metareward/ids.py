"""Content hashes: the ids of all tables, and the seeds of all draws."""

import hashlib


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
