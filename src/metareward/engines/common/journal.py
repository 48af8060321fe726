"""What makes generation resumable: completions go to disk as they finish, and a rerun goes on from there.

A journal is a folder <work>/<stage>/<fingerprint>/ of Parquet parts. It lies outside a stage's outputs, since DVC
deletes those before a run. The fingerprint names everything that the completions depend on, so a journal is never
continued with other inputs, params or code. A part is written to a temporary file, flushed to disk and renamed: a kill
at any moment leaves whole parts only, and a rerun generates what is missing in the batches it would have had anyway.
"""

import dataclasses
import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from filelock import BaseFileLock

from metareward.engines.common.interface import Completion
from metareward.ids import content_id
from metareward.locks import acquire
from metareward.spent import Spent, seconds_so_far

COMPLETIONS: dict[str, type[pl.DataType] | pl.DataType] = {
    "request_id": pl.String,
    "sample": pl.Int64,
    "text": pl.String,
    "n_tokens": pl.Int64,
    "finish_reason": pl.String,
    "first_logprobs": pl.List(pl.Struct({"token": pl.String, "logprob": pl.Float64})),  # null: none
}
SECONDS_PER_PART = 2.0  # batches that finish faster are gathered: many small files are slow to read


def fingerprint(**parts: Any) -> str:
    """16 hexadecimal digits of named values: whatever the completions depend on (inputs, params, model, code).

    A value is anything JSON can hold, a dataclass, or a list of such.
    """
    return content_id(json.dumps(parts, sort_keys=True, default=_plain))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a fingerprint can't hold a {type(value).__name__}")


class Journal:
    """The completions of one stage so far. A context manager: inside it, this process alone may write.

    done: ids of the requests whose completions are on disk; n_completions, n_tokens: how many these are; discarded:
    parts that were torn, or not this journal's, and are gone.
    """

    def __init__(self, folder: Path, fingerprint: str, wait_hours: float = 0.0) -> None:
        """folder: of the stage, <work>/<stage>. wait_hours: how long to wait for another process that is writing."""
        self.folder, self.fingerprint, self.wait_hours = folder / fingerprint, fingerprint, wait_hours
        self.done: set[str] = set()
        self.n_completions = self.n_tokens = self.discarded = 0
        self._lock: BaseFileLock | None = None
        self._parts: list[Path] = []

    def __enter__(self) -> "Journal":
        """Waits while another process is writing this journal, then has what that one wrote (locks.acquire)."""
        self._lock = acquire(self.folder, self.wait_hours)
        for path in self.folder.glob(".*.tmp"):
            path.unlink()
        self.done, self._parts = set(), []
        self.n_completions = self.n_tokens = self.discarded = 0
        for path in sorted(self.folder.glob("*.parquet")):
            self._take(path)
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock:
            self._lock.release()

    def append(self, completions: Sequence[Completion]) -> None:
        """Write completions as one part; when this returns they are on disk. Each request with all its samples."""
        if not completions:
            return
        number = int(self._parts[-1].stem) + 1 if self._parts else 0
        path = self.folder / f"{number:06}.parquet"
        temporary = self.folder / f".{path.name}.tmp"
        frame = _frame(completions)
        with temporary.open("wb") as file:
            frame.write_parquet(file, compression="zstd", metadata={"fingerprint": self.fingerprint})
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        directory = os.open(self.folder, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
        self._count(path, frame)

    def in_order(self) -> Iterator[Completion]:
        """The completions so far, in the order in which they were written; read part by part, as far as needed."""
        for path in self._parts:
            yield from (_completion(row) for row in pl.read_parquet(path).iter_rows(named=True))

    def read(self) -> pl.DataFrame:
        """All completions, sorted by request id and sample."""
        if not self._parts:
            return pl.DataFrame(schema=COMPLETIONS)
        rows = pl.read_parquet(self._parts, glob=False, hive_partitioning=False)
        return rows.sort("request_id", "sample")

    def _take(self, path: Path) -> None:
        """Count a part that was found, or discard it."""
        try:
            mine = pl.read_parquet_metadata(path).get("fingerprint") == self.fingerprint
            frame = pl.read_parquet(path) if mine else None
        except (OSError, pl.exceptions.PolarsError):
            frame = None
        known = frame is not None and dict(frame.schema) == COMPLETIONS and path.stem.isdigit()
        if frame is None or not known or self.done & set(frame["request_id"]):
            path.unlink()
            self.discarded += 1
        else:
            self._count(path, frame)

    def _count(self, path: Path, frame: pl.DataFrame) -> None:
        self._parts.append(path)
        self.done.update(frame["request_id"])
        self.n_completions += frame.height
        self.n_tokens += int(frame["n_tokens"].sum())


def _frame(completions: Sequence[Completion]) -> pl.DataFrame:
    columns = {name: [getattr(completion, name) for completion in completions] for name in COMPLETIONS}
    columns["first_logprobs"] = [
        None if tokens is None else [{"token": token, "logprob": logprob} for token, logprob in tokens]
        for tokens in columns["first_logprobs"]
    ]
    return pl.DataFrame(columns, schema=COMPLETIONS)


def _completion(row: Mapping[str, Any]) -> Completion:
    first = row["first_logprobs"]
    tokens = None if first is None else tuple((token["token"], token["logprob"]) for token in first)
    return Completion(**{**row, "first_logprobs": tokens})


def run(
    complete: Callable[[Collection[str]], Iterator[list[Completion]]],
    total: int,
    journal: Journal,
    on_progress: Callable[[int, int], None] = lambda completions, tokens: None,
    watch: Callable[[Iterable[Completion]], None] = lambda completions: None,
    seconds_per_part: float | None = None,
    prompt_chars: int = 0,
    served: str | None = None,
    writes: bool = True,
) -> pl.DataFrame:
    """Completions of all requests, those of earlier runs included, sorted by request id and sample.

    complete: given the ids of the requests that are done, generates the others' completions (Generator.generate).
    total: of the completions. on_progress is called with (completions so far, new tokens of this run), at the start
    and whenever a list of completions comes. watch is given all completions, those of earlier runs first; what it
    raises ends the run, and what is finished stays. seconds_per_part: from one part to the next; 0: each list of
    completions is on disk before the next one is awaited; None: SECONDS_PER_PART. prompt_chars, served: as of
    `Spent`; writes: whether n_tokens of completions were written. Raises RuntimeError when the generator left some out.
    """
    begun = seconds_so_far()
    with journal:
        tokens_before = journal.n_tokens
        spent = Spent(journal.folder, begun, prompt_chars, served)
        least = SECONDS_PER_PART if seconds_per_part is None else seconds_per_part
        on_progress(journal.n_completions, 0)
        watch(journal.in_order())
        pending: list[Completion] = []
        flushed = time.monotonic()
        try:
            if journal.n_completions < total:
                for completions in complete(frozenset(journal.done)):
                    pending += completions
                    new = journal.n_tokens - tokens_before + sum(completion.n_tokens for completion in pending)
                    on_progress(journal.n_completions + len(pending), new)
                    watch(completions)
                    spent.note(writes * new)
                    if time.monotonic() - flushed >= least:
                        journal.append(pending)
                        pending, flushed = [], time.monotonic()
        finally:  # an interrupt, too, keeps what is finished
            journal.append(pending)
            spent.note(writes * (journal.n_tokens - tokens_before), at_once=True)
        if journal.n_completions != total:
            raise RuntimeError(f"the engine gave {journal.n_completions} completions of {total} asked for")
        (journal.folder / "complete").touch()
        rows = journal.read()
        spent.note(spent.tokens, ended=True)
        return rows
