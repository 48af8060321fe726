"""Attention functions of our own in a model of transformers 5.19: which models they hold for, and how they get in.

They compute a shared prefix once, in generation (engines/transformers/tree.py) and in training on a
CPU (training/prefixes.py). Both see tokens in another order than the text has, so tokens may meet in attention alone,
and a token must see all that stand before it.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

# of a config, whatever else it says: windows, chunks, soft caps, scales by position, sparse or two-sided attention
_SPECIAL = (
    "sliding_window",
    "attention_chunk_size",
    "attn_logit_softcapping",
    "attn_temperature_tuning",
    "index_topk",
    "use_bidirectional_attention",
    "alibi",
)
_ARGUMENTS = ("sliding_window", "softcap", "s_aux", "position_bias")  # of an attention function, for the same things


def supports(model: PreTrainedModel) -> bool:
    """Whether every layer is plain causal attention that can be replaced.

    No windows, chunks, sinks or caps, no attention both ways, no recurrence or convolution over the tokens.
    """
    config = model.config.get_text_config()
    layers = getattr(config, "layer_types", None) or getattr(config, "layers_block_type", None) or ["full_attention"]
    causal = {module.is_causal for module in model.modules() if hasattr(module, "is_causal")}
    return (
        set(layers) == {"full_attention"}
        and not any(getattr(config, name, None) for name in _SPECIAL)
        and causal == {True}
        and not any(isinstance(module, nn.Conv1d) or hasattr(module, "sinks") for module in model.modules())
        and bool(getattr(model, "_supports_attention_backend", False))
    )


def use_attention(model: PreTrainedModel, name: str, attend: Callable[..., tuple[Tensor, None]]) -> None:
    """From now on the model's layers call `attend` for attention, under a name of ours, and no mask is made for it.

    Raises ValueError in a forward in which a layer asks for more than plain attention, though `supports` found none.
    """

    def plain(module: nn.Module, *tensors: Any, **arguments: Any) -> tuple[Tensor, None]:
        for asked in _ARGUMENTS:
            if arguments.get(asked) is not None:
                raise ValueError(f"{type(module).__name__} asks for attention with {asked}, which {name} does not do")
        return attend(module, *tensors, **arguments)

    AttentionInterface.register(name, plain)
    AttentionMaskInterface.register(name, _no_mask)
    model.set_attn_implementation(name)


def _no_mask(*args: Any, **kwargs: Any) -> None:
    """The attention function knows what a token may see."""
