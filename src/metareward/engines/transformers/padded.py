"""Rows of a batch for any architecture, left-padded."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


class PaddedRows:
    """The running rows of a batch for any other architecture: left-padded, with a cache of transformers' own.

    The same interface as `Tree`: one prefill of a prompt, whose cache is then repeated for its samples.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], copies: Sequence[int], room: int) -> None:
        self.model = model
        longest = max(len(prompt) for prompt in prompts)
        padding = [longest - len(prompt) for prompt in prompts]
        self.tokens = torch.tensor([[0] * n + list(p) for n, p in zip(padding, prompts, strict=True)]).to(model.device)
        self.mask = (torch.arange(longest) >= torch.tensor(padding)[:, None]).long().to(model.device)
        self.copies = torch.tensor(copies, device=model.device)
        self.cache: Any = None

    def prefill(self) -> Tensor:
        logits = self._forward(self.tokens)
        rows = torch.repeat_interleave(torch.arange(len(self.tokens), device=self.model.device), self.copies)
        self.cache.reorder_cache(rows)
        self.mask = self.mask[rows]
        return logits[rows]

    def step(self, tokens: Tensor) -> Tensor:
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.mask), 1)], dim=1)
        return self._forward(tokens[:, None])

    def keep(self, order: np.ndarray) -> None:
        rows = torch.from_numpy(order).to(self.model.device)
        self.cache.reorder_cache(rows)
        self.mask = self.mask[rows]

    def _forward(self, tokens: Tensor) -> Tensor:
        positions = (self.mask.cumsum(dim=1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
        output = self.model(
            input_ids=tokens,
            attention_mask=self.mask,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self.cache = output.past_key_values
        logits: Tensor = output.logits[:, -1]
        return logits
