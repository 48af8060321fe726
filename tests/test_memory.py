"""What a model takes, by its config alone: against loaded models, what PyTorch keeps, and files."""

import functools
import http.server
import json
import threading
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from test_train import (
    DPO,
    FULL,
    LORA,
    SFT,
    _one_thread_in_float32,  # noqa: F401
    change,
    eft,
    preference_pairs,
)
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from metareward.cli.memory import memory_lines
from metareward.errors import UserError
from metareward.inputs.seed_config import seed_config
from metareward.load_params import load_params
from metareward.params import Params
from metareward.pipeline.fit import check_fit, generation_line, seed_shape
from metareward.pipeline.memory import LIKELIHOOD_TOKENS, activations, disk, generation, shape_of, training
from metareward.training import loop
from metareward.training.dpo import train_dpo
from metareward.training.likelihood import BATCH_TOKENS
from metareward.training.sft import train_sft

ROOT = Path(__file__).parents[1]
FIRST = {"pattern": "^([0-5])$", "example": "4", "value": 4.0}
PAPER = load_params(ROOT / "profiles/paper.yaml")
LLAMA_3_8B = {
    "model_type": "llama",
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "torch_dtype": "bfloat16",
}
SMALL = {
    "vocab_size": 512,
    "hidden_size": 256,
    "intermediate_size": 896,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
}


def with_train(params, **values):
    return params.model_copy(update={"train": change(params.train, **values)})


def with_section(params, section, **values):
    return params.model_copy(update={section: change(getattr(params, section), **values)})


def with_resources(params, **values):
    return params.model_copy(update={"resources": params.resources.model_copy(update=values)})


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(**SMALL, tie_word_embeddings=True),
        LlamaConfig(**SMALL, tie_word_embeddings=False),
        LlamaConfig(**SMALL | {"num_key_value_heads": 8}, attention_bias=True, mlp_bias=True, head_dim=64),
        MistralConfig(**SMALL),
        Qwen2Config(**SMALL, tie_word_embeddings=True),
        Qwen3Config(**SMALL, head_dim=64),
    ],
    ids=["llama tied", "llama", "llama biases", "mistral", "qwen2", "qwen3"],
)
def test_parameters_are_those_of_the_loaded_model(tmp_path, config):
    config.save_pretrained(tmp_path)
    shape = shape_of(json.loads((tmp_path / "config.json").read_text()))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert shape.parameters == sum(weight.numel() for weight in model.parameters())
    for targets in ("all-linear", ["q_proj", "layers.1.mlp.down_proj"]):
        lora = change(LORA, lora=LORA.lora.model_dump() | {"targets": targets}).lora
        adapted = LoraConfig(r=lora.r, target_modules=targets)
        with torch.device("meta"):
            adapter = get_peft_model(AutoModelForCausalLM.from_config(config), adapted)
        assert shape.of_adapter(lora) == adapter.get_nb_trainable_parameters()[0]


def test_the_parameters_of_llama_3_8b():
    assert shape_of(LLAMA_3_8B).parameters == 8_030_261_248  # as its model card counts
    assert shape_of(LLAMA_3_8B | {"model_type": "mamba"}) is None


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("adapted", [False, True])
@pytest.mark.parametrize("rows", [1, 2])
def test_activations_are_what_pytorch_keeps_for_the_backward_pass(twice, adapted, rows):
    """Counted by storage, without the float32 weights, of one layer more; of two rows one is filled up."""
    tokens = 256
    mask = torch.ones(rows, tokens, dtype=torch.long)
    mask[1:, 200:] = 0

    def kept(layers: int) -> int:
        config = LlamaConfig(**SMALL | {"num_hidden_layers": layers}, use_cache=False)
        model = LlamaForCausalLM(config)
        if adapted:
            model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear"))
            model.enable_input_require_grads()
        if twice:
            model.gradient_checkpointing_enable()
        weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
        storages, tensors = {}, []

        def pack(tensor):
            tensors.append(tensor)  # or its storage would be another's soon
            if tensor.untyped_storage().data_ptr() not in weights:
                storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        backbone = (model.get_base_model() if adapted else model).train().model
        with (
            torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
            torch.autocast("cpu", torch.bfloat16),
        ):
            backbone(torch.arange(tokens).repeat(rows, 1), attention_mask=mask)
        return sum(storages.values())

    params = with_train(PAPER, lora=LORA.lora.model_dump() if adapted else None)
    params = with_section(params, "sft", gradient_checkpointing=twice, micro_batch_size=rows, max_length=tokens)

    def expected(layers: int) -> int:
        shape = shape_of({"model_type": "llama", **SMALL, "num_hidden_layers": layers})
        # divided, so that without the copies of weights that only the forward pass holds
        return activations(shape, params, params.sft, sharded=True)

    assert expected(4) - expected(3) == pytest.approx(kept(4) - kept(3), rel=0.1)


@pytest.fixture(scope="module")
def small(tiny_model, tmp_path_factory) -> Path:
    """Large enough that tokenizer and notes of a state weigh little beside it."""
    folder = tmp_path_factory.mktemp("small") / "model"
    config = AutoModelForCausalLM.from_pretrained(tiny_model).config
    config.hidden_size, config.intermediate_size, config.head_dim = 512, 1536, 128
    LlamaForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return folder


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("adapted", [False, True])
def test_a_state_and_a_checkpoint_are_as_large_as_their_files(small, tmp_path, monkeypatch, adapted):
    true, states = loop.mark_whole, []

    def look(checkpoint):
        true(checkpoint)
        states.append(size(checkpoint))

    monkeypatch.setattr(loop, "mark_whole", look)
    weights = (
        change(FULL, save_dtype="bfloat16") if not adapted else change(LORA, lora=LORA.lora.model_dump() | {"r": 64})
    )
    train_sft(small, eft(8), tmp_path / "out", SFT, tmp_path / "work", 1, save_steps=1, weights=weights)
    params = with_resources(PAPER.model_copy(update={"train": weights}), save_steps=1)
    shape = shape_of(json.loads((small / "config.json").read_text()))
    assert disk(shape, params).seed == pytest.approx(size(small), rel=0.05)
    assert disk(shape, params).checkpoint == pytest.approx(size(tmp_path / "out"), rel=0.05)
    assert disk(shape, params).state == pytest.approx(states[0], rel=0.05)
    assert disk(shape, with_resources(params, save_steps=None)).state == 0


def test_what_lies_in_the_work_folder_at_once_is_no_more_than_said(small, tmp_path, monkeypatch):
    """Looked at where most lies there: a state is whole and the one before it is not gone; best weights are written."""
    most, true_mark, true_save = [], loop.mark_whole, loop.save_weights
    settings = change(DPO, epochs=6.0, keep="best", held_out=0.1, learning_rate=1e-5)

    def mark(checkpoint):
        true_mark(checkpoint)
        most.append(size(tmp_path / "work"))

    monkeypatch.setattr(loop, "mark_whole", mark)
    monkeypatch.setattr(
        "metareward.training.weights.save_weights",
        lambda trainer, folder: [true_save(trainer, folder), most.append(size(tmp_path / "work"))],
    )
    train_dpo(small, preference_pairs(9), tmp_path / "out", settings, tmp_path / "work", 1, save_steps=1)
    params = with_resources(PAPER.model_copy(update={"dpo": settings, "train": FULL}), save_steps=1)
    shape = shape_of(json.loads((small / "config.json").read_text()))
    said = disk(shape, params)
    assert 2 * said.state + said.best < max(most) < 1.05 * said.work


def test_what_llama_3_8b_takes_of_eight_gpus():
    shape, n = shape_of(LLAMA_3_8B), 8_030_261_248
    alone = training(shape, PAPER, PAPER.dpo, 1, sharded=False)
    assert (alone.weights, alone.gradients, alone.optimizer) == (4 * n, 4 * n, 8 * n)
    copies = training(shape, PAPER, PAPER.dpo, 8, sharded=False)
    assert (copies.weights, copies.gradients, copies.optimizer) == (4 * n, 8 * n, 8 * n)  # DDP sends a copy
    divided = training(shape, PAPER, PAPER.dpo, 8, sharded=True)
    gathered = 4 * (2 * 218_112_000 + 2 * 128256 * 4096)  # two layers, embeddings and the output layer
    assert (divided.weights, divided.gradients, divided.optimizer) == (n // 2 + gathered, n // 2, n)
    eight = training(shape, with_train(PAPER, optimizer="adamw_8bit"), PAPER.dpo, 1, sharded=False)
    assert eight.optimizer == 2 * n + 6 * 128256 * 4096  # the embeddings' states stay in 32 bits
    adapted = training(shape, with_train(PAPER, lora=LORA.lora.model_dump()), PAPER.dpo, 8, sharded=False)
    m = shape.of_adapter(LORA.lora)
    assert (adapted.weights, adapted.gradients, adapted.optimizer) == (4 * n + 4 * m, 8 * m, 8 * m)
    once = change(PAPER.dpo, gradient_checkpointing=False)
    assert training(shape, PAPER, once, 8, True).activations > 8 * divided.activations
    assert disk(shape, PAPER).seed == 2 * n
    assert disk(shape, PAPER).checkpoint == 4 * n
    assert disk(shape, PAPER).state == 12 * n


def test_generation_takes_weights_and_a_cache_of_the_gpus_of_a_copy():
    shape = shape_of(LLAMA_3_8B)
    found = generation(shape, PAPER)
    assert found.weights == 2 * 8_030_261_248
    assert found.context == 8192 * 2 * 32 * 8 * 128 * 2  # tokens, keys and values, layers, heads, size, bytes
    read = {"engine": {"name": "transformers"}, "judge": {"read": "first_token", "format": FIRST}}
    values = PAPER.model_dump()
    small = Params.model_validate(values | {name: values[name] | changed for name, changed in read.items()})
    assert generation(shape, small).weights == found.weights + 4 * 128_256 * 4096  # the output layer in float32
    halved = generation(shape, with_resources(PAPER, tensor_parallel=2))
    assert (halved.weights, halved.context) == (found.weights // 2, found.context // 2)
    assert "so 52 such requests at once" in generation_line(with_resources(PAPER, gpu_memory=80.0), shape)


FITS = {"gpu_memory": 80.0, "processes": 8, "launch": str(ROOT / "accelerate/fsdp2.yaml")}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"launch": None},
            r"sft takes about \d+\.\d GB of each GPU, which has 80.*resources\.launch: accelerate/fsdp2",
        ),
        ({"launch": None, "processes": 1}, r"sft takes about .*train\.lora: \{r: 16"),
        ({"gpu_memory": 24.0}, r"sft takes .*GB.*"),
        ({"once": "dpo"}, r"dpo takes about .*dpo\.gradient_checkpointing: true"),
        ({"rows": 16}, r"dpo takes about .*dpo\.micro_batch_size: 1"),
    ],
)
def test_what_cannot_fit_is_refused_with_the_key_that_helps_most(changes, said):
    shape, params = shape_of(LLAMA_3_8B), with_resources(PAPER, **FITS)
    check_fit(params, shape)  # or nothing below is a change's doing
    if "once" in changes:
        params = with_section(params, "dpo", gradient_checkpointing=False)
    elif "rows" in changes:
        params = with_section(params, "dpo", micro_batch_size=changes["rows"])
    else:
        params = with_resources(params, **changes)
    with pytest.raises(UserError, match=said) as found:
        check_fit(params, shape)
    assert "\n" not in str(found.value)
    check_fit(with_resources(params, gpu_memory=None), shape)


def test_likelihoods_that_cannot_fit_are_refused():
    """All weights in float32 on one GPU, where training divides them and generation holds half as much."""
    assert LIKELIHOOD_TOKENS == BATCH_TOKENS
    shape, params = shape_of(LLAMA_3_8B), with_resources(PAPER, **FITS | {"gpu_memory": 32.0})
    check_fit(params, shape)
    measured = with_section(params, "evaluate", likelihood=True)
    with pytest.raises(UserError, match=r"likelihood takes about 34\.2 GB of one GPU, which has 32\."):
        check_fit(measured, shape)
    check_fit(with_resources(measured, gpu_memory=40.0), shape)


def test_generation_that_cannot_fit_is_refused():
    large = shape_of(LLAMA_3_8B | {"hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64})
    params = with_train(with_resources(PAPER, **FITS | {"processes": 64}), lora=None)
    with pytest.raises(UserError, match=r"generation takes .*resources\.tensor_parallel"):
        check_fit(params, large)
    check_fit(with_resources(params, tensor_parallel=4), large)


def test_plan_prints_memory_and_disk_where_the_config_is_known(tmp_path, monkeypatch, capsys):
    params = PAPER.model_copy(update={"seed_model": str(tmp_path)})
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_3_8B))
    lines = list(memory_lines(params, 8))
    table = [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines() if "│" in line
    ]
    assert len(table) == 8  # two stages, all or divided, activations kept or not
    assert [row[:3] for row in table if "*" in row[0]] == [
        ["sft *", "divided by 8", "on"],
        ["dpo *", "divided by 8", "on"],
    ]
    assert lines[0].startswith("8,030,261,248 parameters")
    assert "checkpoints: 6, 176.67 GB: the seed 16.06 GB, each other one 32.12 GB in float32" in lines
    assert any(line.startswith("training: at most") and "two states of 96.36 GB" in line for line in lines)


def test_a_seed_that_is_not_there_is_not_guessed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert next(iter(memory_lines(PAPER.model_copy(update={"seed_model": "embedded"}), 1))).startswith(
        "memory: not known, since the config.json of embedded cannot be read before the stage seed has run"
    )
    (tmp_path / "models/seed").mkdir(parents=True)
    (tmp_path / "models/seed/config.json").write_text(json.dumps(LLAMA_3_8B))
    assert seed_config("embedded", None) is None  # left over from another seed
    lock = {"stages": {"seed": {"params": {"params.yaml": {"seed_model": "embedded", "seed_revision": None}}}}}
    (tmp_path / "dvc.lock").write_text(json.dumps(lock))
    assert seed_config("embedded", None) == (LLAMA_3_8B, "models/seed/config.json")
    (tmp_path / "models/seed/config.json").write_text('{"model_type": "llama"}')
    assert seed_shape(PAPER.model_copy(update={"seed_model": "embedded"}))[0] is None


def test_the_config_of_a_hub_seed_is_read_from_the_hub_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "served/some/model/resolve/main/config.json"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps(LLAMA_3_8B))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "served")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        assert seed_config("some/model", None) == (LLAMA_3_8B, "some/model on the hub")
        assert seed_config("some/other", None) is None
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert seed_config("some/model", None) is None
        server.shutdown()
