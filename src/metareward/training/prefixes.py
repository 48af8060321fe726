"""Training on a CPU: the shared prefix of a batch's rows is computed once.

Judge prompts share their rubric, and a chosen and a rejected text share their whole prompt. Causal attention gives
equal prefixes equal hidden states, so the batch is turned into a tree of tokens: every layer works on the nodes of
the tree, and attention alone sees whole rows. Loss and gradients are those of the padded batch, up to rounding.
"""

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from metareward.engines.transformers.attention import supports, use_attention


def share_prefixes(model: PreTrainedModel) -> None:
    """From now on the model's backbone computes a shared prefix once. For right-padded batches of whole rows.

    Does nothing to a model whose layers are not all plain causal attention.
    """
    if not supports(model):
        return
    use_attention(model, "shared_prefixes", _attend)
    backbone = model.base_model
    forward_of_rows = backbone.forward

    def forward(_: nn.Module, input_ids: Tensor, attention_mask: Tensor, **kwargs: Any) -> Any:
        node_of_place, place_of_node = token_tree(input_ids, attention_mask)
        flat = place_of_node.to(input_ids.device)
        output = forward_of_rows(
            input_ids=input_ids.flatten()[flat][None],
            position_ids=(flat % input_ids.shape[1])[None],
            node_of_place=node_of_place.to(input_ids.device),
            place_of_node=flat,
            **kwargs,
        )
        output.last_hidden_state = _select(output.last_hidden_state[0], node_of_place)
        return output

    backbone.forward = MethodType(forward, backbone)


def token_tree(input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Two rows at a place share a node when they are equal up to and including that place.

    input_ids, attention_mask: [rows, places], right-padded. Returns node_of_place [rows, places] (0 on padding, which
    nothing reads) and place_of_node [nodes]: for each node one place row * places + column where it stands.
    """
    places = input_ids.shape[1]
    lengths = attention_mask.sum(dim=1).tolist()
    nodes: dict[tuple[int, int], int] = {}  # (parent node, token) -> node
    place_of_node: list[int] = []
    node_of_place = torch.zeros_like(input_ids)
    for row, (tokens, length) in enumerate(zip(input_ids.tolist(), lengths, strict=True)):
        node, path = -1, []
        for column, token in enumerate(tokens[:length]):
            node = nodes.setdefault((node, token), len(nodes))
            if node == len(place_of_node):
                place_of_node.append(row * places + column)
            path.append(node)
        node_of_place[row, :length] = torch.tensor(path)
    return node_of_place, torch.tensor(place_of_node)


def _select(values: Tensor, index: Tensor) -> Tensor:
    """values [nodes, ...] at index [rows, places] -> [rows, places, ...]; index_select has the fast gradient."""
    return values.index_select(0, index.flatten()).view(*index.shape, *values.shape[1:])


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    dropout: float = 0.0,
    scaling: float | None = None,
    *,
    node_of_place: Tensor,
    place_of_node: Tensor,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Causal attention over whole rows; query, key, value: [1, heads, nodes, size] -> [1, nodes, heads, size].

    Rows are right-padded, so no token reads padding and there is no mask.
    """
    query, key, value = (_select(x[0].transpose(0, 1), node_of_place).transpose(1, 2) for x in (query, key, value))
    output = nn.functional.scaled_dot_product_attention(
        query, key, value, dropout_p=dropout, scale=scaling, is_causal=True, enable_gqa=True
    )
    by_place = output.transpose(1, 2).flatten(0, 1)
    return by_place.index_select(0, place_of_node)[None], None
