"""Computing a shared prefix once: the tree by hand, and the same loss and gradients as without it."""

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from metareward.engines.transformers.attention import supports, use_attention
from metareward.training.prefixes import share_prefixes, token_tree


def padded(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """input_ids and attention_mask, right-padded with 9."""
    width = max(map(len, rows))
    ids = torch.tensor([row + [9] * (width - len(row)) for row in rows])
    return ids, torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])


def test_rows_share_the_nodes_of_their_common_prefix_and_no_others():
    node_of_place, place_of_node = token_tree(*padded([[5, 6, 7], [5, 6, 8, 7], [6, 6]]))
    assert node_of_place.tolist() == [[0, 1, 2, 0], [0, 1, 3, 4], [5, 6, 0, 0]]
    assert place_of_node.tolist() == [0, 1, 2, 6, 7, 8, 9]


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=6))
def test_a_node_stands_for_one_prefix_and_a_prefix_has_one_node(rows):
    ids, mask = padded(rows)
    node_of_place, place_of_node = token_tree(ids, mask)
    node_of_prefix = {}
    for row, tokens in enumerate(rows):
        for column in range(len(tokens)):
            node = int(node_of_place[row, column])
            assert node_of_prefix.setdefault(tuple(tokens[: column + 1]), node) == node
            assert int(place_of_node[node]) % ids.shape[1] == column
    assert sorted(node_of_prefix.values()) == list(range(len(place_of_node)))


@pytest.mark.parametrize("rows", [[[5, 6, 7, 8], [5, 6, 9, 9, 9], [5, 6, 9, 4], [7]], [[3, 4, 5]]])
def test_loss_and_gradients_are_those_of_the_padded_batch(tiny_model, rows):
    ids, mask = padded(rows)
    results = []
    for share in (False, True):
        model = AutoModelForCausalLM.from_pretrained(tiny_model)
        if share:
            share_prefixes(model)
        hidden = model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        loss = (model.lm_head(hidden).softmax(dim=-1).square().sum(dim=-1) * mask).sum()
        loss.backward()
        results.append((hidden[mask.bool()], [weight.grad for weight in model.parameters()]))
    (plain, plain_gradients), (shared, shared_gradients) = results
    torch.testing.assert_close(shared, plain, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(shared_gradients, plain_gradients, atol=1e-6, rtol=1e-4)


SMALL = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2,
}  # fmt: skip
FULL = ["full_attention", "full_attention"]
EXPERTS = {"num_local_experts": 2, "num_experts": 2, "num_experts_per_tok": 1}


def model_of(name, **settings):
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**(SMALL | settings))
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Llama", {}),
        ("Qwen2", {}),
        ("Qwen3", {}),
        ("Mistral", {"sliding_window": None}),
        ("Phi3", {}),
        ("Olmo2", {}),
        ("Granite", {}),
        ("SmolLM3", {}),
        ("GPTNeoX", {}),
        ("GPT2", {"n_embd": 32, "n_head": 2, "n_layer": 2}),
        ("OPT", {"word_embed_proj_dim": 32, "ffn_dim": 32}),
    ],
)
def test_models_of_plain_causal_attention_are_supported_and_compute_the_same(name, settings):
    model = model_of(name, **settings)
    assert supports(model)
    ids, mask = padded([[5, 6, 7, 8], [5, 6, 9, 9, 9], [5, 6, 9, 4], [7]])
    with torch.no_grad():
        plain = model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        share_prefixes(model)
        shared = model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    assert "forward" in vars(model.base_model)
    torch.testing.assert_close(shared[mask.bool()], plain[mask.bool()], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Mistral", {"sliding_window": 4}),
        ("Cohere2", {}),
        ("Qwen2", {"use_sliding_window": True, "sliding_window": 4, "layer_types": ["sliding_attention"] * 2}),
        ("Gemma2", {"layer_types": FULL, "sliding_window": None}),  # a soft cap
        ("GptOss", {"layer_types": FULL, "sliding_window": None, **EXPERTS}),  # sinks
        ("Llama4Text", {"attention_chunk_size": 4, "intermediate_size_mlp": 32, **EXPERTS}),
        ("Llama4Text", {"attention_chunk_size": None, "layer_types": FULL, "intermediate_size_mlp": 32, **EXPERTS}),
        ("MiniMax", {}),  # linear attention
        ("Lfm2", {"layer_types": ["conv", "full_attention"]}),
        ("Bamba", {"attn_layer_indices": [1], "mamba_n_heads": 2, "mamba_d_head": 32}),
        ("Gemma3Text", {"layer_types": FULL, "use_bidirectional_attention": True}),
        ("Doge", {}),  # a mask of its own making
        ("Bloom", {}),  # positions as a bias
    ],
)
def test_a_model_of_any_other_attention_stays_as_it_is(name, settings):
    model = model_of(name, **settings)
    assert not supports(model)
    share_prefixes(model)
    assert "forward" not in vars(model.base_model)
    assert model.config._attn_implementation != "shared_prefixes"


@pytest.mark.parametrize("settings", [{"sliding_window": 4}, {"layer_types": ["linear_attention", "full_attention"]}])
def test_a_config_is_asked_whatever_the_model_is(settings):
    model = model_of("Llama")
    for name, value in settings.items():
        setattr(model.config, name, value)
    assert not supports(model)


def test_a_model_that_takes_no_attention_function_is_not_supported():
    model = model_of("Llama")
    model._supports_attention_backend = False
    assert not supports(model)


def test_a_convolution_over_tokens_is_seen_though_no_config_tells_of_it():
    model = model_of("Llama")
    model.model.layers[1].mixer = torch.nn.Conv1d(4, 4, 2)
    assert not supports(model)


def test_a_layer_that_asks_for_more_than_plain_attention_is_not_answered():
    """A second net below `supports`: a cap that no config told of."""
    model = model_of("Gemma2", layer_types=FULL)
    use_attention(model, "plain", lambda *tensors, **arguments: pytest.fail("it was answered"))
    with pytest.raises(ValueError, match="Gemma2Attention asks for attention with softcap"):
        model(torch.tensor([[5, 6]]), use_cache=False)
