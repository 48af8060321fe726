"""What is changed in other people's libraries: it is there, it is undone, and a library that moved is named."""

import re
from importlib.metadata import version
from types import ModuleType

import pytest
import transformers
import trl.trainer.base_trainer
import trl.trainer.dpo_trainer
import trl.trainer.sft_trainer
import trl.trainer.utils
from test_train import DPO, SFT, eft, preference_pairs
from transformers import PreTrainedModel
from trl import DPOTrainer, SFTTrainer

from metareward.engines.transformers import attention, extras, patches
from metareward.engines.transformers.patches import patched
from metareward.errors import UserError
from metareward.training import trl_internals
from metareward.training.dpo import train_dpo
from metareward.training.sft import train_sft

TOUCHED = [
    (transformers.utils, "is_sklearn_available", "every stage imports sklearn, in a second"),
    (transformers.utils, "is_scipy_available", "every stage imports scipy, in a second"),
    (PreTrainedModel, "_supports_attention_backend", "no model shares the computation of prompts"),
    (trl.trainer.utils, "_use_triton", "training on a CPU computes logits of every position"),
    (trl.trainer.sft_trainer, "add_fused_lm_head", "SFT rounds logits to bfloat16"),
    (trl.trainer.dpo_trainer, "add_fused_lm_head", "DPO rounds logits to bfloat16"),
    (DPOTrainer, "_prepare_dataset", "TRL may drop and cut rows without a word"),
    (DPOTrainer, "_send_telemetry", "TRL may send telemetry"),
    (SFTTrainer, "_send_telemetry", "TRL may send telemetry"),
]


@pytest.mark.parametrize(("owner", "name", "without"), TOUCHED)
def test_what_is_touched_is_still_there(owner, name, without):
    library = owner.__module__.split(".")[0] if isinstance(owner, type) else owner.__name__.split(".")[0]
    assert hasattr(owner, name), f"{library} {version(library)} has no {owner.__name__}.{name} any more: {without}"


@pytest.mark.parametrize(
    ("module", "library"), [(extras, "transformers"), (attention, "transformers"), (trl_internals, "TRL")]
)
def test_each_file_names_the_version_it_holds_for(module, library):
    named = re.search(rf"{library} (\d+\.\d+)", module.__doc__).group(1)
    installed = ".".join(version(library.lower()).split(".")[:2])
    assert named == installed, (
        f"{library} is {installed} now, and {module.__name__} was written for {named}: read in {library} what it "
        "changes, run the tests, and change the number"
    )


def test_functions_come_back_also_after_an_error():
    module = ModuleType("trl.some")
    module.one, module.two = 1, 2

    def use():
        with patched(module, one=10, two=20):
            assert (module.one, module.two) == (10, 20)
            raise KeyError

    with pytest.raises(KeyError):
        use()
    assert (module.one, module.two) == (1, 2)


def test_a_library_that_moved_is_named_and_nothing_is_changed():
    module = ModuleType("trl.some")
    module.one = 1
    words = rf"^trl {version('trl')} has no trl\.some\.two any more.*install the version of trl"
    with pytest.raises(UserError, match=words), patched(module, one=10, two=20):
        pytest.fail("it went on")
    assert module.one == 1


def test_nothing_stays_changed_after_import_and_training(tiny_model, tmp_path, monkeypatch):
    import metareward.engines.transformers.engine  # noqa: F401

    assert patches  # the one way in
    assert transformers.utils.is_sklearn_available.__module__ == "transformers.utils.import_utils"
    assert transformers.utils.is_scipy_available.__module__ == "transformers.utils.import_utils"
    trainers = (trl.trainer.sft_trainer, trl.trainer.dpo_trainer)
    heads = [trainer.add_fused_lm_head for trainer in trainers]
    before, during = trl.trainer.utils._use_triton, []
    prepare = trl_internals.OwnRows._prepare_dataset

    def look(self, *rest):
        during.append(trl.trainer.utils._use_triton)
        return prepare(self, *rest)

    monkeypatch.setattr(trl_internals.OwnRows, "_prepare_dataset", look)
    train_dpo(tiny_model, preference_pairs(4), tmp_path / "out", DPO, tmp_path / "work", 1)
    assert during
    assert before not in during
    assert trl.trainer.utils._use_triton is before
    assert [trainer.add_fused_lm_head for trainer in trainers] == heads


def test_nobody_is_told_of_a_run(tiny_model, tmp_path, monkeypatch):
    told = []
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(trl.trainer.base_trainer, "send_telemetry", lambda *args, **kwargs: told.append(args))
    train_dpo(tiny_model, preference_pairs(4), tmp_path / "dpo", DPO, tmp_path / "work", 1)
    train_sft(tiny_model, eft(4), tmp_path / "sft", SFT, tmp_path / "work", 1)
    assert told == []
    monkeypatch.delattr(trl_internals.OwnRows, "_send_telemetry")  # or this test would not have seen it
    train_sft(tiny_model, eft(4), tmp_path / "sft", SFT, tmp_path / "work", 1)
    assert told
