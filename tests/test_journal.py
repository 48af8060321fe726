"""The journal: what was finished is never lost, never double, and never another run's."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import polars as pl
import pytest

import metareward.engines.common.journal
from metareward.engines.common.interface import Completion, Request, Sampling
from metareward.engines.common.journal import Journal, fingerprint
from metareward.errors import UserError
from metareward.pipeline.journals import clear_journals, list_journals
from metareward.pipeline.stage import work_directory

REQUESTS = [
    Request(f"r{number:02}", [{"role": "user", "content": str(number)}], 2, Sampling(0.8, 0.95, 8), 1)
    for number in range(12)
]
EXPECTED = [(request.id, sample, f"{request.id} {sample}") for request in REQUESTS for sample in range(2)]


class Echo:
    """A generator of the seam whose completions name their request: three requests to a batch."""

    def __init__(self, seconds=0.0):
        self.seconds, self.asked = seconds, []

    def generate(self, requests, done=()):
        for start in range(0, len(requests), 3):
            batch = [request for request in requests[start : start + 3] if request.id not in done]
            if batch:
                time.sleep(self.seconds)
                self.asked += [request.id for request in batch]
                yield [Completion(r.id, sample, f"{r.id} {sample}", 5, "stop") for r in batch for sample in range(r.n)]


def run(generator, requests, journal, *report):
    total = sum(request.n for request in requests)
    return metareward.engines.common.journal.run(partial(generator.generate, requests), total, journal, *report)


@pytest.fixture
def every_list_a_part(monkeypatch):
    monkeypatch.setattr("metareward.engines.common.journal.SECONDS_PER_PART", 0.0)


def rows(table):
    return list(table.select("request_id", "sample", "text").iter_rows())


def parts(folder):
    return sorted(folder.glob("*/*.parquet"))


def test_a_run_gives_all_rows_and_a_second_one_asks_for_nothing(tmp_path):
    seen = []
    table = run(Echo(), REQUESTS, Journal(tmp_path, "f"), lambda *progress: seen.append(progress))
    assert rows(table) == EXPECTED
    assert seen[0] == (0, 0)
    assert seen[-1] == (24, 120)
    again = Echo()
    assert run(again, REQUESTS, Journal(tmp_path, "f")).equals(table)
    assert again.asked == []


def test_the_name_of_a_folder_is_no_pattern_and_holds_no_values(tmp_path, every_list_a_part):
    """Polars would look for other files where a path has brackets, and make a column of a=1."""
    table = run(Echo(), REQUESTS, Journal(tmp_path / "a=1 [b] *", "f"))
    assert rows(table) == EXPECTED
    assert run(Echo(), REQUESTS, Journal(tmp_path / "a=1 [b] *", "f")).equals(table)


def test_batches_that_come_fast_are_gathered_into_one_part(tmp_path):
    run(Echo(), REQUESTS, Journal(tmp_path, "f"))
    assert len(parts(tmp_path)) == 1


def test_an_interrupted_run_goes_on_where_it_was(tmp_path, every_list_a_part):
    def stop(completions, tokens):
        if completions == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Echo(), REQUESTS, Journal(tmp_path, "f"), stop)
    rest, seen = Echo(), []
    assert rows(run(rest, REQUESTS, Journal(tmp_path, "f"), lambda *progress: seen.append(progress))) == EXPECTED
    assert rest.asked == [request.id for request in REQUESTS[6:]]
    assert seen[0] == (12, 0)
    assert seen[-1] == (24, 60)  # tokens of this run only


def torn(path):
    path.write_bytes(path.read_bytes()[:-20])


def empty(path):
    path.write_bytes(b"")


def of_another_journal(path):
    frame = pl.read_parquet(path)
    frame.write_parquet(path, metadata={"fingerprint": "another"})


def of_another_schema(path):
    pl.DataFrame({"x": [1]}).write_parquet(path, metadata={"fingerprint": "f"})


def a_copy_of_the_first(path):
    path.write_bytes(path.with_name("000000.parquet").read_bytes())


@pytest.mark.parametrize("damage", [torn, empty, of_another_journal, of_another_schema, a_copy_of_the_first])
def test_a_part_that_is_no_whole_part_of_this_journal_is_discarded_and_made_again(tmp_path, every_list_a_part, damage):
    run(Echo(), REQUESTS, Journal(tmp_path, "f"))
    assert len(parts(tmp_path)) == 4
    damage(parts(tmp_path)[2])
    rest, journal = Echo(), Journal(tmp_path, "f")
    assert rows(run(rest, REQUESTS, journal)) == EXPECTED
    assert rest.asked == [request.id for request in REQUESTS[6:9]]
    assert journal.discarded == 1


def test_a_temporary_file_of_a_killed_run_is_removed(tmp_path):
    run(Echo(), REQUESTS, Journal(tmp_path, "f"))
    left = tmp_path / "f" / ".000001.parquet.tmp"
    left.write_bytes(b"half")
    with Journal(tmp_path, "f") as journal:
        assert journal.n_completions == 24
    assert not left.exists()


def test_a_watch_sees_all_completions_in_their_order_and_what_it_stops_is_kept(tmp_path, every_list_a_part):
    seen = []

    def stop(completions):
        seen.extend(f"{one.request_id} {one.sample}" for one in completions)
        if len(seen) >= 12:
            raise UserError("enough")

    def watched(watch):
        return run(Echo(), REQUESTS, Journal(tmp_path, "f"), lambda *progress: None, watch)

    with pytest.raises(UserError, match="enough"):
        watched(stop)
    assert seen == [text for _, _, text in EXPECTED[:12]]
    with Journal(tmp_path, "f") as journal:
        assert rows(journal.read()) == EXPECTED[:12]
    seen.clear()
    with pytest.raises(UserError, match="enough"):  # before it generates anything
        watched(stop)
    assert seen == [text for _, _, text in EXPECTED[:12]]
    seen.clear()
    assert rows(watched(lambda completions: seen.extend(one.text for one in completions))) == EXPECTED
    assert seen == [text for _, _, text in EXPECTED]


def test_a_generator_that_leaves_requests_out_is_not_believed(tmp_path):
    class Lazy(Echo):
        def generate(self, requests, done=()):
            return super().generate(requests[:3], done)

    with pytest.raises(RuntimeError, match="6 completions of 24"):
        run(Lazy(), REQUESTS, Journal(tmp_path, "f"))


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import metareward.engines.common.journal
from test_journal import REQUESTS, Echo, run
metareward.engines.common.journal.SECONDS_PER_PART = 0.0
journal = metareward.engines.common.journal.Journal(Path(sys.argv[2]), "f")
report = lambda completions, tokens: print(completions, flush=True)
run(Echo(float(sys.argv[3])), REQUESTS, journal, report)
"""


def writer(folder, seconds):
    """A process that writes the journal, a batch every so many seconds, and prints how far it is."""
    command = [sys.executable, "-c", WRITER, os.path.dirname(__file__), str(folder), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_second_writer_is_refused_by_name_until_the_first_is_dead(tmp_path):
    stage = tmp_path / "respond"
    first = writer(stage, 60)
    try:
        assert first.stdout.readline() == "0\n"  # it has the lock, and will not end by itself
        with pytest.raises(UserError, match=rf"process {first.pid} on \S+"), Journal(stage, "f"):
            pass
        (entry,) = list_journals(tmp_path)
        assert entry.state.startswith(f"being written by process {first.pid} on ")
        assert clear_journals([entry]) == []
    finally:
        first.kill()
        first.wait()
    assert rows(run(Echo(), REQUESTS, Journal(stage, "f"))) == EXPECTED


def test_a_second_one_that_waits_reads_what_the_first_has_written_and_generates_nothing(tmp_path, capfd):
    stage = tmp_path / "respond"
    first = writer(stage, 0.5)
    assert first.stdout.readline() == "0\n"
    late = Echo()
    assert rows(run(late, REQUESTS, Journal(stage, "f", wait_hours=1))) == EXPECTED
    assert late.asked == []
    assert f"waiting for process {first.pid} on " in capfd.readouterr().err
    assert first.wait() == 0


def test_one_that_waits_for_a_process_that_is_killed_goes_on_from_there(tmp_path):
    stage = tmp_path / "respond"
    first = writer(stage, 1)
    assert [first.stdout.readline() for _ in range(2)] == ["0\n", "6\n"]
    threading.Timer(1.5, first.kill).start()
    rest = Echo()
    assert rows(run(rest, REQUESTS, Journal(stage, "f", wait_hours=1))) == EXPECTED
    assert 0 < len(rest.asked) < len(REQUESTS)
    first.wait()


def test_killed_at_any_moment_a_rerun_keeps_what_was_written_and_ends_with_the_same_table(tmp_path):
    draw = random.Random(0)
    for trial in range(5):
        folder, kept = tmp_path / str(trial), 0
        for _ in range(4):
            process = writer(folder, 0.02)
            process.stdout.readline()
            time.sleep(draw.uniform(0, 0.1))
            process.send_signal(signal.SIGKILL)
            process.communicate()
            with Journal(folder, "f") as journal:
                assert journal.discarded == 0
                assert journal.n_completions >= kept
                kept = journal.n_completions
        assert rows(run(Echo(), REQUESTS, Journal(folder, "f"))) == EXPECTED


SAMPLER = """
import resource, sys
from pathlib import Path
from metareward.engines.common import sampler
from metareward.engines.common.interface import Completion, Request, Sampling
from metareward.load_params import load_params

class Writer:
    def generate(self, requests, done):
        for request in requests:
            yield [Completion(request.id, k, "a judgment of some length " * 10, 60, "stop") for k in range(request.n)]

def requests():
    for k in range(int(sys.argv[1])):
        yield Request(f"{k}", [{"role": "user", "content": f"prompt {k} " * 400}], 2, Sampling(0.8, 0.95, 60), 1)

sampler.load_engine = lambda *_: Writer()
folder = Path(sys.argv[2])
settings = load_params(Path(sys.argv[3]))
sample = sampler.Sampler(settings, folder / "model", folder / "work", "judge")
table = sample(requests)
assert table.height == 2 * int(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_number_of_requests(tmp_path):
    def peak(n):
        folder = tmp_path / str(n)
        command = [sys.executable, "-c", SAMPLER, str(n), str(folder), "profiles/demo.yaml"]
        root = Path(__file__).parents[1]
        return int(subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout)

    assert peak(20_000) < 1.1 * peak(1_000)


def test_a_fingerprint_depends_on_every_part_and_on_nothing_else():
    base = fingerprint(requests=REQUESTS, params={"a": 1, "b": None})
    assert base == fingerprint(params={"b": None, "a": 1}, requests=list(REQUESTS))
    assert base != fingerprint(requests=REQUESTS, params={"a": 2, "b": None})
    assert base != fingerprint(requests=REQUESTS[1:], params={"a": 1, "b": None})
    with pytest.raises(TypeError):
        fingerprint(moment=object())  # whose text would name an address, another one in every run


def test_the_work_directory_is_the_main_checkouts_also_in_a_temporary_experiment(tmp_path):
    (tmp_path / ".dvc").mkdir()
    experiment = tmp_path / ".dvc" / "tmp" / "exps" / "standalone" / "tmp1"
    (experiment / ".dvc").mkdir(parents=True)
    (tmp_path / "stages").mkdir()
    for start in (tmp_path, tmp_path / "stages", experiment):
        assert work_directory(start) == tmp_path / ".work"


def test_journals_are_listed_with_whom_they_belong_to_and_cleared(tmp_path, every_list_a_part):
    def stop(completions, tokens):
        if completions:
            raise KeyboardInterrupt

    for number, name in enumerate(("old", "young")):
        with pytest.raises(KeyboardInterrupt):
            run(Echo(), REQUESTS, Journal(tmp_path / "respond", name), stop)
        for file in (tmp_path / "respond" / name).iterdir():
            os.utime(file, (time.time() - 100 + 50 * number,) * 2)
    run(Echo(), REQUESTS[:3], Journal(tmp_path / "judge", "f"))
    entries = list_journals(tmp_path)
    assert [(e.stage, e.fingerprint, e.completions, e.state) for e in entries] == [
        ("judge", "f", 6, "complete"),
        ("respond", "young", 6, "unfinished"),
        ("respond", "old", 6, "left behind"),
    ]
    assert all(entry.size > 500 for entry in entries)
    assert [round(entry.age, -1) for entry in entries] == [0, 50, 100]
    assert clear_journals(entries[1:2]) == entries[1:2]
    assert [entry.fingerprint for entry in list_journals(tmp_path)] == ["f", "old"]
