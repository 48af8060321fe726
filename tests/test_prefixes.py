"""Computing a shared prefix once: the tree by hand, and the same loss and gradients as without it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

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


def test_a_model_with_sliding_windows_stays_as_it_is(tiny_model):
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    model.config.sliding_window = 4
    share_prefixes(model)
    assert "forward" not in vars(model.model)
