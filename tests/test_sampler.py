"""What the texts of a stage depend on, and what not: the settings and the code in a journal's fingerprint."""

import hashlib
import shutil
import threading
from pathlib import Path

import pytest

from metareward import digests
from metareward.engines.common import device, sampler
from metareward.engines.common.interface import Completion, Request, Sampling
from metareward.engines.common.sampler import Sampler
from metareward.engines.common.sampler import text_settings as settings_of
from metareward.errors import UserError
from metareward.load_params import load_params
from metareward.locks import acquire

ROOT = Path(__file__).parents[1]
PARAMS = load_params(ROOT / "profiles/demo.yaml")


def engine(**sections):
    """The demo's engine with other values: name, max_context, or a section's own by keyword."""
    own = {
        name: type(section).model_validate(section.model_dump() | values)
        for name, values in sections.items()
        if isinstance(values, dict)
        for section in [getattr(PARAMS.engine, name)]
    }
    plain = {name: value for name, value in sections.items() if not isinstance(value, dict)}
    return PARAMS.engine.model_copy(update={**own, **plain})


def text_settings(settings, **chat_template_kwargs):
    return settings_of(settings, chat_template_kwargs)


def test_only_the_section_of_the_named_engine_decides_a_text():
    local = engine(name="transformers")
    assert text_settings(engine(name="transformers", vllm={"dtype": "float32"})) == text_settings(local)
    assert text_settings(engine(name="transformers", transformers={"batch_tokens": 7})) != text_settings(local)
    vllm = engine(name="vllm")
    assert text_settings(engine(name="vllm", transformers={"batch_tokens": 7})) == text_settings(vllm)
    assert text_settings(engine(name="vllm", vllm={"dtype": "float32"})) != text_settings(vllm)
    assert text_settings(engine(name="vllm", max_context=7)) != text_settings(vllm)
    assert text_settings(vllm) != text_settings(local)
    assert text_settings(vllm, date_string="1 May") != text_settings(vllm)


def test_of_vllms_own_options_those_that_decide_a_text_make_a_journal_stale():
    plain = text_settings(engine(name="vllm"))
    for options in ({"max_num_seqs": 64, "gpu_memory_utilization": 0.8}, {"max_num_batched_tokens": 4096}):
        assert text_settings(engine(name="vllm", vllm=options)) == plain
    for options in ({"quantization": "fp8"}, {"kv_cache_dtype": "fp8"}, {"hf_overrides": {}}, {"enforce_eager": True}):
        assert text_settings(engine(name="vllm", vllm=options)) == plain | options


@pytest.mark.parametrize("fast", [True, False])
def test_auto_is_what_it_stands_for_on_this_machine(monkeypatch, fast):
    """A journal of bfloat16 texts is not continued by a processor that would write in float32."""
    monkeypatch.setattr(device, "bfloat16_is_fast", lambda: fast)
    dtype = "bfloat16" if fast else "float32"
    assert text_settings(engine(transformers={"dtype": "auto"})) == text_settings(engine(transformers={"dtype": dtype}))


def test_an_edit_makes_a_journal_stale_if_the_module_decides_texts_and_else_does_not(tmp_path, monkeypatch):
    """Each module in turn gets a comment; the journal is complete each time, and is what must not be believed."""
    package = tmp_path / "src/metareward"
    shutil.copytree(ROOT / "src/metareward", package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "model").mkdir()
    monkeypatch.setattr(sampler, "PACKAGE", package)
    generated = []

    class Writer:
        def generate(self, requests, done):
            for request in requests:
                generated.append(request.id)
                yield [Completion(request.id, 0, "a text", 2, "stop")]

    monkeypatch.setattr(sampler, "load_engine", lambda *_: Writer())
    requests = [Request("r", [{"role": "user", "content": "Hi"}], 1, Sampling(0.8, 0.95, 8), 1)]

    def generates():
        generated.clear()
        Sampler(PARAMS, tmp_path / "model", tmp_path / "work", "respond")(lambda: requests)
        return generated == ["r"]

    assert generates()
    assert not generates()
    stale = set()
    for module in sorted(package.rglob("*.py")):
        before = module.read_text()
        module.write_text(before + "# a comment\n")
        if generates():
            stale.add(module.relative_to(tmp_path).as_posix())
        module.write_text(before)
    engine = PARAMS.engine.name
    common = {path.relative_to(ROOT).as_posix() for path in (ROOT / "src/metareward/engines/common").glob("*.py")}
    own = {path.relative_to(ROOT).as_posix() for path in (ROOT / f"src/metareward/engines/{engine}").glob("*.py")}
    assert stale == common | own | {"src/metareward/ids.py"}
    assert "src/metareward/engines/common/chat.py" in stale


def test_requests_that_differ_in_anything_are_other_bytes_and_none_run_into_each_other():
    user, sampling = [{"role": "user", "content": "ab"}], Sampling(0.8, 0.95, 8)
    said = {"role": "assistant", "content": "c"}
    requests = [
        Request("r", user, 1, sampling, 1),
        Request("r1", user, 1, sampling, 1),
        Request("r", [{"role": "user", "content": "ac"}], 1, sampling, 1),
        Request("r", [{"role": "usera", "content": "b"}], 1, sampling, 1),
        Request("r", [*user, said], 1, sampling, 1),
        Request("r", [user[0] | {"assistant": "c"}], 1, sampling, 1),
        Request("r", [*user, said, *user], 1, sampling, 1),
        Request("r", user, 2, sampling, 1),
        Request("r", user, 1, Sampling(0.8, 0.95, 9), 1),
        Request("r", user, 1, sampling, 2),
        Request("r", user, 1, sampling, 1, 1),
        Request("r", [{"role": "user", "content": "\ud800"}], 1, sampling, 1),  # half a character, from a user's file
    ]
    found = [sampler._bytes_of(request) for request in requests]
    assert len(set(found)) == len(requests)
    assert not any(one != other and other.startswith(one) for one in found for other in found)


def test_the_models_files_are_read_once_by_all_stages_and_a_new_model_has_another_journal(tmp_path, monkeypatch):
    model, read, real = tmp_path / "model", [], hashlib.file_digest
    model.mkdir()
    (model / "model.safetensors").write_text("1234")
    monkeypatch.setattr(digests, "LARGE", 4)
    monkeypatch.setattr(hashlib, "file_digest", lambda file, kind: read.append(file.name) or real(file, kind))
    work = tmp_path / "work"

    def journal(stage):
        return Sampler(PARAMS, model, work / stage, stage)._model_digest

    assert journal("respond@m1") == journal("judge@m1")
    assert read == [str(model / "model.safetensors")]
    before = journal("judge@m1")
    (model / "new").write_text("4321")
    (model / "new").replace(model / "model.safetensors")
    assert journal("judge@m1") != before
    assert len(read) == 2


def test_a_stage_waits_for_its_journal_as_long_as_the_params_say(tmp_path, monkeypatch):
    class Writer:
        def generate(self, requests, done):
            yield from ([Completion(request.id, 0, "a text", 2, "stop")] for request in requests)

    (tmp_path / "model").mkdir()
    monkeypatch.setattr(sampler, "load_engine", lambda *_: Writer())
    requests = [Request("r", [{"role": "user", "content": "Hi"}], 1, Sampling(0.8, 0.95, 8), 1)]

    def texts(hours):
        resources = PARAMS.resources.model_copy(update={"wait_hours": hours})
        settings = PARAMS.model_copy(update={"resources": resources})
        return Sampler(settings, tmp_path / "model", tmp_path / "work", "respond")(lambda: requests)

    written = texts(0.0)
    (folder,) = (tmp_path / "work").iterdir()
    lock = acquire(folder)
    with pytest.raises(UserError, match="being written by process"):
        texts(0.0)
    threading.Timer(0.5, lock.release).start()
    assert texts(1.0).equals(written)
