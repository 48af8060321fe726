"""What the texts of a stage depend on, and what not: the settings in a journal's fingerprint."""

from pathlib import Path

import pytest

from metareward.engines.common import device
from metareward.engines.common.sampler import text_settings
from metareward.load_params import load_params

PARAMS = load_params(Path(__file__).parents[1] / "profiles/demo.yaml")


def engine(**sections):
    """The demo's engine with other values: name, max_context, or a section's own by keyword."""
    own = {
        name: getattr(PARAMS.engine, name).model_copy(update=values)
        for name, values in sections.items()
        if isinstance(values, dict)
    }
    plain = {name: value for name, value in sections.items() if not isinstance(value, dict)}
    return PARAMS.engine.model_copy(update={**own, **plain})


def test_only_the_section_of_the_named_engine_decides_a_text():
    local = engine(name="transformers")
    assert text_settings(engine(name="transformers", vllm={"dtype": "float32"})) == text_settings(local)
    assert text_settings(engine(name="transformers", transformers={"batch_tokens": 7})) != text_settings(local)
    vllm = engine(name="vllm")
    assert text_settings(engine(name="vllm", transformers={"batch_tokens": 7})) == text_settings(vllm)
    assert text_settings(engine(name="vllm", vllm={"dtype": "float32"})) != text_settings(vllm)
    assert text_settings(engine(name="vllm", max_context=7)) != text_settings(vllm)
    assert text_settings(vllm) != text_settings(local)


@pytest.mark.parametrize("fast", [True, False])
def test_auto_is_what_it_stands_for_on_this_machine(monkeypatch, fast):
    """A journal of bfloat16 texts is not continued by a processor that would write in float32."""
    monkeypatch.setattr(device, "bfloat16_is_fast", lambda: fast)
    dtype = "bfloat16" if fast else "float32"
    assert text_settings(engine(transformers={"dtype": "auto"})) == text_settings(engine(transformers={"dtype": dtype}))
