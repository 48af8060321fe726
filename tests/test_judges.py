"""Judges of benchmarks: any model of an engine of ours, or one behind an endpoint; their keys, journals and price."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import yaml

from metareward.engines.common.interface import Endpoint, Request, Sampling
from metareward.engines.judges import check_judge, endpoint_of, load_judge
from metareward.engines.openai import chat, client
from metareward.engines.transformers.engine import TransformersEngine
from metareward.errors import UserError
from metareward.load_params import parse_params
from metareward.params import BenchmarkJudge, JudgeEndpoint
from metareward.pipeline.journals import list_journals
from metareward.pipeline.plan import judge_cost

from chat_server import (
    GPT,
    PARAMS,
    ROOT,
    WHERE,
    ChatServer,
    ask,
    at,
    chat_answer,
    judge,
    refusal,
    resources,
    some_of,
    top,
)
from tiny import save_tiny_model

KEY = "sk-a-key-that-must-not-be-seen"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(chat, "AGAIN", (0.0, 0.0))
    monkeypatch.setattr(client, "RETRIES", 4)


# Keys and addresses


def test_the_key_comes_from_the_variable_that_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "the-other")
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")  # as read from a file
    with ChatServer() as server:
        at(server.url, tmp_path, key="MY_KEY")(lambda: [ask("r")])
        assert server.keys == {f"Bearer {KEY}"}
        at(server.url, tmp_path)(lambda: [ask("r2")])
        assert server.keys == {f"Bearer {KEY}", "Bearer the-other"}


def test_no_key_is_seen_anywhere(monkeypatch, tmp_path, caplog, capfd):
    """Not in journals, logs and errors, though servers repeat it and users write it where its name should stand."""
    monkeypatch.setenv("MY_KEY", KEY)
    caplog.set_level("DEBUG")
    lines = []

    def fails(**settings):
        with pytest.raises(UserError) as error:
            at(server.url, tmp_path, key="MY_KEY", **settings)(lambda: [ask("r"), ask("s", "bad")])
        lines.append(str(error.value))

    said = f"Incorrect API key provided: {KEY}. You can find yours elsewhere."
    with ChatServer() as server:
        for fault in (
            refusal(401, said),
            refusal(403, said),
            refusal(400, said),
            refusal(404, said),
            refusal(500, said),
        ):
            server.fault = some_of({"bad": [fault] * 9})
            server.asked.clear()
            fails()
        server.fault = some_of({"bad": [(200, {"error": {"message": said}})] * 9})
        server.asked.clear()
        fails()
        server.listing = refusal(401, said)
        server.asked.clear()
        fails()
        assert server.asked == []  # a wrong key is found out before anything is asked
    fails()  # nothing answers
    monkeypatch.delenv("MY_KEY")
    fails()
    monkeypatch.setenv("MY_KEY", f"{KEY}\u00e9")
    fails()
    with pytest.raises(UserError, match="is not set") as error:
        at("http://name:password@127.0.0.1:9/v1", tmp_path, key=KEY.replace("-", "_"))(lambda: [ask("r")])
    assert "password" not in str(error.value)
    for line in (*lines[:2], lines[6]):
        assert f"does not take the key in the environment variable that params.yaml: resources.judges.{GPT}.key" in line
    assert "***" in lines[2]
    assert "nothing answers at" in lines[7]
    assert "is not set" in lines[8]
    seen = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()] + [
        caplog.text.encode(),
        str(error.value).encode(),
    ]
    seen += [text.encode() for text in (*lines, *capfd.readouterr())]
    assert len(caplog.text) > 1000
    assert not any(word.encode() in text for text in seen for word in (KEY, KEY.replace("-", "_")))


def test_a_judge_without_an_address_is_refused_at_once():
    with pytest.raises(UserError, match=rf"no address.*resources.judges, {WHERE}.model"):
        check_judge(judge(), PARAMS.resources, WHERE)
    shared = PARAMS.resources.model_copy(update={"base_url": "http://localhost:8000/v1"})
    assert endpoint_of(GPT, shared, WHERE).base_url == "http://localhost:8000/v1"
    own = shared.model_copy(update={"judges": {GPT: JudgeEndpoint(base_url="https://a/v1", key="K")}})
    assert endpoint_of(GPT, own, WHERE) == Endpoint(GPT, "https://a/v1", "K", WHERE)
    assert endpoint_of("another", own, WHERE) == Endpoint("another", "http://localhost:8000/v1", None, WHERE)


@pytest.mark.parametrize(
    ("judges", "line"),
    [
        (5, "resources.judges is 5; it must be a mapping of judges' models to endpoints"),
        ({GPT: None}, f"resources.judges.{GPT} is None; it must be a mapping of judges' models"),
        ({GPT: {"url": "x"}}, f"resources.judges.{GPT}.url is not a known key. Do you mean 'base_url'"),
        ({GPT: {"base_ur": "x"}}, f"resources.judges.{GPT}.base_ur is not a known key. Do you mean 'base_url'"),
        ({GPT: {"base_url": 1.5}}, "base_url is 1.5; YAML reads it as a number or a date"),
        ({GPT: {"dollars_per_million_in": -1}}, "dollars_per_million_in is -1.0; it must be a number >= 0, or null."),
        (
            {GPT: {"dollars_per_million_out": "x"}},
            "dollars_per_million_out is 'x'; it must be a number >= 0, or null.",
        ),
        ({4.5: {}}, "resources.judges.4.5 is no key"),
    ],
)
def test_what_is_wrong_with_endpoints_in_params_is_one_line(judges, line):
    values = yaml.safe_load((ROOT / "profiles/tiny.yaml").read_text())
    values["resources"]["judges"] = judges
    with pytest.raises(UserError) as error:
        parse_params(values)
    assert str(error.value).startswith(line)
    assert "params.yaml: resources.judges" in str(error.value)


def test_endpoints_in_params_may_leave_out_what_they_share_and_be_spelt_in_any_way():
    values = yaml.safe_load((ROOT / "profiles/tiny.yaml").read_text())
    assert parse_params(values).resources.judges == {}
    values["resources"]["judges"] = {
        "gpt-4.1": {"key": "K", "dollars_per_million_in": "1e1", "dollars_per_million_out": 30},
        "org/model": {"base_url": "null", "key": None},
        7: {},
    }
    assert parse_params(values).resources.judges == {
        "gpt-4.1": JudgeEndpoint(key="K", dollars_per_million_in=10.0, dollars_per_million_out=30.0),
        "org/model": JudgeEndpoint(),
        "7": JudgeEndpoint(),
    }


def test_dvc_reads_params_with_judges_of_any_name(tmp_path):
    """It resolves ${...} of dvc.yaml in params.yaml, whose keys may hold points and slashes."""
    for command in (["git", "init", "--quiet"], ["dvc", "init", "--quiet"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    judges = {"gpt-4.1-mini": {"key": "K"}, "org/model": {"base_url": "http://localhost:1/v1"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"resources": {"judges": judges}, "name": "a"}))
    (tmp_path / "dvc.yaml").write_text("stages:\n  one:\n    cmd: echo ${name}\n")
    out = subprocess.run(["dvc", "repro"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "echo a" in out


@pytest.mark.parametrize(
    "url", ["localhost:8000/v1", "http://", "http://a:port/v1", "http://[a/v1", "ftp://a/v1", "a b"]
)
def test_an_address_that_is_none_is_said(url, tmp_path):
    with pytest.raises(UserError, match=r"is no address; it must be one like http://localhost:8000/v1\. \(params.yaml"):
        at(url, tmp_path)(lambda: [ask("r")])


def test_a_served_model_takes_no_variables_of_a_template():
    """They would be dropped without a word: the template is the server's."""
    given = judge().model_copy(update={"chat_template_kwargs": {"enable_thinking": False}})
    with pytest.raises(UserError, match=rf"chat_template_kwargs is .*must be {{}}.*{WHERE}.chat_template_kwargs"):
        check_judge(given, resources("http://127.0.0.1:9/v1"), WHERE)


# The journal


def test_the_address_and_the_price_of_a_judge_make_no_journal_stale_but_its_name_does(tmp_path):
    with ChatServer() as first, ChatServer() as second:
        table = at(first.url, tmp_path)(lambda: [ask("r")])
        assert at(second.url, tmp_path, concurrency=1)(lambda: [ask("r")]).equals(table)
        assert second.asked == []
        named = resources(second.url).judges[GPT]
        params = PARAMS.model_copy(
            update={"resources": resources(second.url).model_copy(update={"judges": {"gpt-5": named}})}
        )
        load_judge(judge("gpt-5"), params, tmp_path / ".work/grade@m1", "grade", WHERE)(lambda: [ask("r")])
        assert [body["model"] for body in second.asked] == ["gpt-5"]
        at(second.url, tmp_path)(lambda: [ask("r", first=5)])  # other requests
        assert len(second.asked) == 2


def test_log_probabilities_come_back_from_the_journal(tmp_path):
    answer = lambda body: chat_answer("m", logprobs=top(m=-0.25, M=-1.5))  # noqa: E731
    with ChatServer(answer=answer) as server:
        requests = [ask("a", first=5), ask("b", "two")]
        table = at(server.url, tmp_path)(lambda: requests)
        seen = []
        again = at(server.url, tmp_path)(lambda: requests, watch=seen.extend)
        assert len(server.asked) == 2
    assert again.equals(table)
    assert table["first_logprobs"].to_list() == [
        [{"token": "m", "logprob": -0.25}, {"token": "M", "logprob": -1.5}],
        None,
    ]
    assert {c.request_id: c.first_logprobs for c in seen} == {"a": (("m", -0.25), ("M", -1.5)), "b": None}


CLIENT = """
import sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from chat_server import ask, at
at(sys.argv[1], Path(sys.argv[2]))(lambda: [ask(f"r{number:03}", f"text {number}") for number in range(100)])
"""


def test_sigkill_costs_what_is_in_flight_and_nothing_is_asked_twice_that_was_written(tmp_path):
    with ChatServer(seconds=0.03) as server:
        command = [sys.executable, "-c", CLIENT, server.url, str(tmp_path), str(Path(__file__).parent)]
        for enough in (20, 60):
            process = subprocess.Popen(command)
            while len(server.asked) < enough:
                assert process.poll() is None
                time.sleep(0.005)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            time.sleep(0.2)  # the server is still writing to it
        before = len(server.asked)
        (journal,) = (tmp_path / ".work/grade@m1").iterdir()
        kept = pl.concat([pl.read_parquet(path) for path in journal.glob("0*.parquet")])["request_id"].to_list()
        assert len(kept) == len(set(kept))
        assert before - len(kept) <= 2 * 4  # of each kill those in flight
        table = at(server.url, tmp_path)(lambda: [ask(f"r{number:03}", f"text {number}") for number in range(100)])
        assert table["text"].to_list() == [f"TEXT {number}" for number in range(100)]
        assert sorted(server.texts()[before:]) == sorted(f"text {n}" for n in range(100) if f"r{n:03}" not in kept)


# A judge with a model of our own engines


def test_a_model_behind_a_server_gives_what_the_engine_gives_with_its_folder(tiny_model, tmp_path):
    engine = TransformersEngine(tiny_model, dtype="float32")

    def answer(body):
        first = body.get("top_logprobs", 0)
        request = Request("r", body["messages"], 1, Sampling(body["temperature"], 1.0, body["max_tokens"]), 1, first)
        ((found,),) = engine.generate([request])
        likeliest = [{"token": token, "logprob": logprob} for token, logprob in found.first_logprobs or ()]
        body = chat_answer(found.text, finish_reason=found.finish_reason)
        body["choices"][0]["logprobs"] = {"content": [{"top_logprobs": likeliest}]} if first else None
        return body | {"usage": {"completion_tokens": found.n_tokens}}

    dialogue = [{"role": role, "content": text} for role, text in [("user", "a"), ("assistant", "b"), ("user", "c")]]
    requests = [ask("a", "Why?", first=5), ask("b", "Two.", first=20), ask("c", "Three.")]
    requests.append(Request("d", dialogue, 1, Sampling(0.0, 1.0, 16), 1, 3))
    with ChatServer(answer=answer) as server:
        served = at(server.url, tmp_path, concurrency=1)(lambda: requests)
    params = PARAMS.model_copy(update={"resources": resources("http://127.0.0.1:9/v1")})
    local = load_judge(judge(str(tiny_model), "transformers"), params, tmp_path / ".work/grade@m2", "grade", WHERE)
    graded = local(lambda: requests)
    assert graded.drop("first_logprobs").equals(served.drop("first_logprobs"))
    assert served["first_logprobs"].list.len().to_list() == [5, 20, None, 3]
    ours, theirs = (table["first_logprobs"].explode().drop_nulls().struct.unnest() for table in (graded, served))
    assert ours["token"].equals(theirs["token"])
    assert (ours["logprob"] - theirs["logprob"]).abs().max() < 1e-5  # rounding by the rows beside
    assert not (tmp_path / "models").exists()


def test_the_variables_of_a_judges_template_are_its_own(tiny_model, tmp_path):
    """Those of the checkpoints' template, which it need not have, are not passed on."""
    shutil.copytree(tiny_model, tmp_path / "model")
    template = (tmp_path / "model/chat_template.jinja").read_text()
    (tmp_path / "model/chat_template.jinja").write_text("{{ greeting }}" + template)
    params = PARAMS.model_copy(update={"chat_template_kwargs": {"of_the_seed": True}})
    asked = [ask("r", "Why?", first=5)]

    def graded(**kwargs):
        one = BenchmarkJudge(
            engine="transformers", model=str(tmp_path / "model"), logprobs=True, chat_template_kwargs=kwargs
        )
        return load_judge(one, params, tmp_path / ".work/grade@m1", "grade", WHERE)(lambda: asked)

    assert not graded(greeting="Hello. ").equals(graded(greeting="Go away! "))
    with pytest.raises(UserError, match="no variable of_a_third"):
        graded(of_a_third=1)


def test_the_embedded_model_is_made_once_beside_the_journals(tmp_path, smollm2):
    params = PARAMS.model_copy(update={"resources": resources("")})
    (left := tmp_path / ".work/models/.embedded/tmpkilled").mkdir(parents=True)
    found = [
        load_judge(judge("embedded", "transformers"), params, tmp_path / f".work/grade@{name}", "grade", WHERE)
        for name in ("m1", "m2")
    ]
    folder = tmp_path / ".work/models/.embedded/model"
    assert [one.model for one in found] == [folder, folder]
    assert not left.exists()
    assert (folder / "config.json").read_bytes() == (smollm2 / "config.json").read_bytes()
    assert list_journals(tmp_path / ".work") == []


def test_a_model_of_the_hub_lies_where_its_client_keeps_it(tmp_path, tiny_model):
    """Offline, with what is in the cache."""
    cache, revision = tmp_path / "hub/models--someone--tiny", "a" * 40
    save_tiny_model(cache / "snapshots" / revision)
    (cache / "refs").mkdir()
    (cache / "refs/main").write_text(revision)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_judges import *\n"
        "work = Path(sys.argv[2]) / '.work/grade'\n"
        "for name in ('someone/tiny', 'someone/other'):\n"
        "    try: print(load_judge(judge(name, 'transformers'), PARAMS, work, 'grade', WHERE).model)\n"
        "    except UserError as error: print(error)\n"
    )
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path)]
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.splitlines()
    assert out[0] == str(cache / "snapshots" / revision)
    assert out[1].startswith("someone/other cannot be downloaded")
    assert out[1].endswith(f"(params.yaml: {WHERE}.model)")


def test_what_is_wrong_with_a_judges_model_is_said_of_the_judge(tmp_path):
    with pytest.raises(UserError, match=rf"^model is 'no/such/folder'.*\(params.yaml: {WHERE}.model\)$"):
        check_judge(judge("no/such/folder", "transformers"), PARAMS.resources, WHERE)
    (tmp_path / "model").mkdir()
    with pytest.raises(UserError, match=rf"no config.json.*\(params.yaml: {WHERE}.model\)$"):
        check_judge(judge(str(tmp_path / "model"), "transformers"), PARAMS.resources, WHERE)
    template = "{{ strftime_now('%d') }}{% for message in messages %}{{ message['content'] }}{% endfor %}"
    save_tiny_model(tmp_path / "dated")
    (tmp_path / "dated/chat_template.jinja").write_text(template)
    with pytest.raises(UserError, match=rf"day's date.*\(params.yaml: {WHERE}.chat_template_kwargs\)$"):
        check_judge(judge(str(tmp_path / "dated"), "transformers"), PARAMS.resources, WHERE)


# What it costs


def test_the_price_of_a_judge_by_hand():
    priced = JudgeEndpoint(dollars_per_million_in=10.0, dollars_per_million_out=30.0)
    assert judge_cost(1000, 500.0, 100.0, priced) == pytest.approx(1000 * (500 * 10 + 100 * 30) / 1e6)  # 8 dollars
    assert judge_cost(0, 500.0, 100.0, priced) == 0
    assert judge_cost(1000, 500.0, 100.0, JudgeEndpoint(dollars_per_million_in=10.0)) is None
    assert judge_cost(1000, 500.0, 100.0, None) is None
