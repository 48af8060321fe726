"""A cluster whose machines share no disk: the checkpoint, and our code, reach one that cannot see them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import ray
from filelock import FileLock
from ray.cluster_utils import Cluster
from test_engine_ray import ENGINE, PARAMS, RAY, REQUESTS, rows

import metareward
from metareward.engines.common.load import load_engine
from metareward.engines.ray import checkpoint
from metareward.engines.ray.checkpoint import Source, at_hand, contents

from pipeline import Clone

NODE = """
while [ "$1" != -- ]; do mount -t tmpfs none "$1" || exit 3; shift; done
shift
cd /
exec "$@"
"""
OWN_ROOT = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]


@contextmanager
def machine_without(hidden, cluster, cache):
    """A second node of a cluster whose processes see neither a folder nor our code, with a cache folder of its own."""
    agents = ["dashboard-agent-listen", "dashboard-agent-grpc", "metrics-export", "runtime-env-agent"]
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={cluster.address}", "--num-cpus=1"]
    start += ["--block", *(f"--{name}-port=0" for name in agents)]
    command = [*OWN_ROOT, "sh", "-c", NODE, "node", str(hidden), *sources(), "--", *start]
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RAY_ADDRESS")}
    before = alive(cluster)
    node = subprocess.Popen(
        command,
        env={**environment, "XDG_CACHE_HOME": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while alive(cluster) == before:
            if node.poll() == 3:
                pytest.skip("no file system can be hidden from a process here")
            assert node.poll() is None, node.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield
    finally:
        os.killpg(node.pid, signal.SIGTERM)
        node.wait()


def sources():
    """Where this process has our code, and where the installation has it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", "import metareward; print(metareward.__file__)"]
    installed = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=True).stdout
    return {str(Path(file).parents[1]) for file in (metareward.__file__, installed)}


def alive(cluster):
    return sum(node["Alive"] for node in cluster.global_state.node_table())


@pytest.fixture
def head(monkeypatch):
    """A node that runs no worker."""
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    yield nodes
    ray.shutdown()
    nodes.shutdown()


def test_a_machine_that_cannot_see_the_checkpoint_gives_its_rows(head, tiny_model, tmp_path):
    model = shutil.copytree(tiny_model, tmp_path / "only here/model")
    few = REQUESTS[:3]
    with machine_without(model.parent, head, tmp_path / "cache"):
        engine = load_engine(ENGINE, RAY, model, 1)
        assert len(engine.workers) == 1
        assert rows(engine.generate(few)) == rows(load_engine(ENGINE, PARAMS.resources, model, 1).generate(few))
    (kept,) = (tmp_path / "cache/metareward/checkpoints").glob("*/model")
    assert kept.parent.name == contents(model)
    assert files(kept) == files(model)


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def damaging():
    """A Source that turns a bit of every piece but a file's first; made here, so that it goes to its process whole."""

    class Damaging(Source):
        def piece(self, name, start, size):
            piece, digest = super().piece(name, start, size)
            return piece[:-1] + bytes([piece[-1] ^ 1]) if start else piece, digest

    return Damaging


@pytest.fixture(scope="module")
def one_machine():
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(checkpoint, "PIECE", 100)
    folder = tmp_path / "m1"
    (folder / "inner").mkdir(parents=True)
    (folder / "weights").write_bytes(bytes(range(256)) * 3)
    (folder / "inner/empty").touch()
    (folder / ".hidden").touch()
    return folder


def source(kind, folder):
    return ray.remote(kind).options(num_cpus=0).remote(folder)


def test_a_checkpoint_comes_in_pieces_and_once(one_machine, folder, tmp_path):
    named = contents(folder)
    assert at_hand(folder, named, None) == folder
    kept = at_hand(tmp_path / "elsewhere/m1", named, source(Source, folder))
    assert files(kept) == {name: content for name, content in files(folder).items() if name.name != ".hidden"}
    assert at_hand(tmp_path / "elsewhere/m1", named, None) == kept


def test_another_checkpoint_at_the_same_path_is_not_taken_for_it(one_machine, folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other/m1")
    (other / "weights").write_bytes(bytes(range(256)) * 2 + bytes(256))
    kept = at_hand(other, contents(folder), source(Source, folder))
    assert kept != other
    assert files(kept)[Path("weights")] == (folder / "weights").read_bytes()


def test_a_piece_that_comes_damaged_is_not_kept(one_machine, folder, tmp_path):
    with pytest.raises(RuntimeError, match="weights of the checkpoint came damaged, from byte 100 on"):
        at_hand(tmp_path / "elsewhere/m1", contents(folder), source(damaging(), folder))
    assert at_hand(tmp_path / "elsewhere/m1", contents(folder), source(Source, folder)).is_dir()


def test_of_old_checkpoints_those_used_last_are_kept(one_machine, folder, tmp_path):
    cache = tmp_path / "cache/metareward/checkpoints"
    for hours, name in enumerate(["in use", "one", "two", "three"]):
        (cache / name).mkdir(parents=True)
        os.utime(cache / name, (time.time() - 3700 * hours,) * 2)
    with FileLock(cache / "two.lock"):  # by a worker that is reading it
        kept = at_hand(tmp_path / "elsewhere/m1", contents(folder), source(Source, folder))
    assert {path.name for path in cache.iterdir() if path.is_dir()} == {"in use", "one", "two", kept.parent.name}


@pytest.mark.skipif(
    not os.environ.get("METAREWARD_CLUSTER"), reason="two runs of the pipeline, one of them on a cluster"
)
def test_a_whole_run_on_machines_that_share_no_disk_gives_the_tables_of_a_local_one(head, tmp_path):
    """Of the two nodes one sees the project and one does not; each has a worker."""
    head.add_node(num_cpus=1)
    outputs = []
    for name, resources in (("alone", {}), ("cluster", {"resources__ray": True, "resources__workers": 2})):
        clone = Clone(tmp_path / name)
        clone.use_tiny_profile(**resources)
        with machine_without(clone.folder, head, tmp_path / f"cache of {name}"):
            clone.run("dvc repro")
        outputs.append({path: md5 for path, md5 in clone.outputs().items() if path.startswith("data/")})
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) > 20
    assert len(list((tmp_path / "cache of cluster/metareward/checkpoints").glob("*/*"))) > 1
