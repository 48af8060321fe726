"""Decoding over a tree of prompts: a shared prefix is computed, kept and read once.

All samples of a prompt share it, judge prompts share their rubric, and battles of a response share all but the last
judgment. The prompts of a batch make a tree of segments; a row (one sample) is a path of segments and the tokens it
has written itself. Attention is the only place where tokens meet, so the model runs on packed tokens, [1, tokens],
and this file's attention function looks up what each of them may see. It takes any model of transformers whose layers
are all plain causal attention behind the attention interface.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from metareward.engines.common.batches import common_prefix
from metareward.engines.transformers.attention import use_attention

LEAST_SHARED = 24  # tokens; a level of the tree costs time at every step, so a shorter common prefix is not worth one
LONGEST_SEGMENT = 256  # tokens; a longer one is a chain, so that one long prompt does not pad all others


@dataclass
class Segment:
    """Tokens start .. end of the prompts below it; parent: place of the segment before it, or -1."""

    parent: int
    depth: int
    start: int
    tokens: Sequence[int]


def grow_tree(prompts: Sequence[Sequence[int]]) -> tuple[list[Segment], list[int]]:
    """The segments of some prompts, parents first, and for each prompt the segment in which it ends."""
    segments: list[Segment] = []
    ends = [-1] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda place: list(prompts[place]))
    groups = [(order, -1, 0)]
    while groups:
        group, parent, start = groups.pop()
        common = common_prefix(prompts[group[0]], prompts[group[-1]])
        if common < start + LEAST_SHARED and len(prompts[group[0]]) > common:
            common = start
        tokens = prompts[group[0]]
        for begin in range(start, common, LONGEST_SEGMENT):
            depth = segments[parent].depth + 1 if parent >= 0 else 0
            segments.append(Segment(parent, depth, begin, tokens[begin : min(begin + LONGEST_SEGMENT, common)]))
            parent = len(segments) - 1
        rest: list[list[int]] = []
        for place in group:
            if len(prompts[place]) == common:
                ends[place] = parent
            elif rest and common_prefix(prompts[rest[-1][-1]], prompts[place]) >= common + LEAST_SHARED:
                rest[-1].append(place)
            else:
                rest.append([place])
        groups += [(members, parent, common) for members in rest]
    return segments, ends


class Level:
    """The segments of one depth: keys and values by layer, [segments, heads, longest, size], and who reads them."""

    def __init__(self, places: Tensor, lengths: np.ndarray, segment_of_row: np.ndarray) -> None:
        """places: [segments, longest], where their tokens stand among the packed tokens of the prompts."""
        self.places, self.lengths, self.segment_of_row = places, lengths, segment_of_row
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.route()

    def store(self, key: Tensor, value: Tensor) -> None:
        """One layer's keys and values of the packed prompt tokens, [heads, tokens, size]."""
        self.keys.append(key[:, self.places].transpose(0, 1).contiguous())
        self.values.append(value[:, self.places].transpose(0, 1).contiguous())

    def keep(self, order: np.ndarray) -> None:
        """Keep only the rows in `order`, and only the segments that they read."""
        self.segment_of_row = self.segment_of_row[order]
        used = np.unique(self.segment_of_row[self.segment_of_row >= 0])
        moves = compaction(used)
        renamed = np.full(len(self.lengths) + 1, -1)
        renamed[moves] = np.arange(len(moves))
        self.segment_of_row, self.lengths = renamed[self.segment_of_row], self.lengths[moves]
        for stored in (self.keys, self.values):
            for layer, tensor in enumerate(stored):
                stored[layer] = move_rows(tensor, moves)
        self.route()

    def route(self) -> None:
        """Give each row a slot of its segment, so that all queries of a segment meet its keys in one product."""
        present = np.flatnonzero(self.segment_of_row >= 0)
        present = present[np.argsort(self.segment_of_row[present], kind="stable")]
        segments = self.segment_of_row[present]
        counts = np.bincount(segments, minlength=len(self.lengths))
        rank = np.arange(len(present)) - (np.cumsum(counts) - counts)[segments]
        self.width = int(counts.max(initial=0))
        slots = segments * self.width + rank
        row_of_slot = np.zeros(len(self.lengths) * self.width, dtype=np.int64)
        row_of_slot[slots] = present
        slot_of_row = np.zeros(len(self.segment_of_row), dtype=np.int64)
        slot_of_row[present] = slots
        device = self.places.device
        self.row_of_slot = torch.from_numpy(row_of_slot).to(device)
        self.slot_of_row = torch.from_numpy(slot_of_row).to(device)
        self.direct = np.array_equal(row_of_slot, np.arange(len(self.segment_of_row)))
        self.absent = torch.from_numpy(np.flatnonzero(self.segment_of_row < 0)).to(device)

    def seen(self) -> np.ndarray:
        """Whether a row sees a place, [rows, longest]."""
        lengths = np.append(self.lengths, 0)[self.segment_of_row]  # a row that reads no segment has -1: length 0
        seen: np.ndarray = np.arange(self.places.shape[1]) < lengths[:, None]
        return seen

    def multiply(self, left: Tensor, right: Tensor) -> Tensor:
        """left [rows, heads, group, m] times each row's matrix of right [segments, heads, m, n]; 0 if it has none."""
        _, heads, group, size = left.shape
        if not self.direct:
            left = left[self.row_of_slot]
        left = left.view(-1, self.width, heads, group, size).transpose(1, 2)
        left = left.reshape(-1, heads, self.width * group, size)
        product = (left @ right).view(-1, heads, self.width, group, right.shape[-1])
        product = product.transpose(1, 2).reshape(-1, heads, group, right.shape[-1])
        if self.direct:
            return product
        product = product[self.slot_of_row]
        return product.index_fill_(0, self.absent, 0) if len(self.absent) else product


def compaction(kept: np.ndarray) -> np.ndarray:
    """Order that closes the gaps between the kept places by moving the last ones in: place i takes what order[i] had.

    Only what moves is copied: order[i] == i elsewhere.
    """
    order = np.arange(len(kept))
    gaps = np.setdiff1d(order, kept)
    order[gaps] = kept[kept >= len(kept)]
    return order


def move_rows(tensor: Tensor, order: np.ndarray) -> Tensor:
    """A view of the first len(order) rows, after the rows that `compaction` moves were copied into the gaps."""
    moved = np.flatnonzero(order != np.arange(len(order)))
    if len(moved):
        tensor[torch.from_numpy(moved)] = tensor[torch.from_numpy(order[moved])]
    return tensor[: len(order)]


class Tree:
    """The running rows of a batch. `prefill` once, then `step` and `keep` in turn."""

    def __init__(
        self, model: PreTrainedModel, prompts: Sequence[Sequence[int]], copies: Sequence[int], room: int
    ) -> None:
        """copies: rows of each prompt, which come in this order; room: the most tokens a row will write."""
        self.model, self.room, self.written = model, room, 0
        device = model.device
        self.segments, ends = grow_tree(prompts)
        self.offsets = np.cumsum([0, *(len(segment.tokens) for segment in self.segments)])
        self.end_places = torch.tensor([self.offsets[end + 1] - 1 for end in ends], device=device)
        self.prompt_of_row = torch.tensor(np.repeat(np.arange(len(prompts)), copies), device=device)
        self.lengths = np.repeat([len(prompt) for prompt in prompts], copies)
        self.levels = self._levels(np.repeat(ends, copies))
        self.keys: list[Tensor] = []  # of the rows' own tokens, by layer: [rows, heads, room, size]
        self.values: list[Tensor] = []
        self._mask_levels()

    def _levels(self, end_of_row: np.ndarray) -> list[Level]:
        levels = []
        path = end_of_row.copy()
        parents = np.array([segment.parent for segment in self.segments])
        depths = np.array([segment.depth for segment in self.segments])
        for depth in range(depths.max(), -1, -1):
            at_depth = np.flatnonzero(depths == depth)
            here = depths[path] == depth
            segment_of_row = np.where(here, np.searchsorted(at_depth, path), -1)
            path = np.where(here, parents[path], path)
            lengths = np.diff(self.offsets)[at_depth]
            places = self.offsets[at_depth][:, None] + np.minimum(np.arange(lengths.max()), lengths[:, None] - 1)
            levels.append(Level(torch.from_numpy(places).to(self.model.device), lengths, segment_of_row))
        return levels

    def _mask_levels(self) -> None:
        """Additive mask over the columns of all levels, [rows, 1, 1, columns]: segments of a level differ in length."""
        seen = torch.from_numpy(np.concatenate([level.seen() for level in self.levels], axis=1))
        mask = torch.zeros(seen.shape, dtype=self.model.dtype).masked_fill_(~seen, -torch.inf)
        self.mask = mask[:, None, None].to(self.model.device)

    def prefill(self) -> Tensor:
        """Logits after each row's prompt, [rows, vocabulary]; every segment is computed once."""
        tokens = [token for segment in self.segments for token in segment.tokens]
        positions = [s.start + place for s in self.segments for place in range(len(s.tokens))]
        self.ancestors: list[list[slice]] = []
        self.causal: list[Tensor | None] = []
        for number, segment in enumerate(self.segments):
            above = self.ancestors[segment.parent] if segment.parent >= 0 else []
            self.ancestors.append([*above, slice(int(self.offsets[number]), int(self.offsets[number + 1]))])
            mask = None
            if above:
                length = len(segment.tokens)
                mask = torch.ones(length, segment.start + length, dtype=torch.bool).tril(segment.start)
                mask = mask.to(self.model.device)
            self.causal.append(mask)
        logits = self._forward(tokens, positions, self.end_places)
        del self.ancestors, self.causal
        return logits[self.prompt_of_row]

    def step(self, tokens: Tensor) -> Tensor:
        """Logits after one more token of each row, [rows, vocabulary]; tokens: [rows]."""
        logits = self._forward(tokens, self.lengths + self.written, 0)
        self.written += 1
        return logits

    def keep(self, order: np.ndarray) -> None:
        """Drop rows: row i goes on as row order[i] was, order as `compaction` gives it."""
        self.lengths = self.lengths[order]
        for level in self.levels:
            level.keep(order)
        self.levels = [level for level in self.levels if level.width]
        for stored in (self.keys, self.values):
            for layer, tensor in enumerate(stored):
                stored[layer] = move_rows(tensor, order)
        self._mask_levels()

    def _forward(self, tokens: Any, positions: Any, logits_to_keep: Tensor | int) -> Tensor:
        device = self.model.device
        output = self.model(
            input_ids=torch.as_tensor(tokens, device=device)[None],
            position_ids=torch.as_tensor(positions, device=device)[None],
            use_cache=False,
            logits_to_keep=logits_to_keep,
            tree=self,
        )
        logits: Tensor = output.logits[0]
        return logits

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """query [heads, tokens, size], key and value [key heads, tokens, size] -> [tokens, heads, size]."""
        if len(self.keys) <= layer:
            for level in self.levels:
                level.store(key, value)
            shape = (len(self.prompt_of_row), key.shape[0], self.room)
            self.keys.append(key.new_empty(*shape, key.shape[-1]))
            self.values.append(value.new_empty(*shape, value.shape[-1]))
            return self._attend_prompts(query, key, value, scaling)
        return self._attend_rows(layer, query, key, value, scaling)

    def _attend_prompts(self, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        outputs = []
        for path, mask in zip(self.ancestors, self.causal, strict=True):
            keys = torch.cat([key[:, part] for part in path], dim=1) if len(path) > 1 else key[:, path[0]]
            values = torch.cat([value[:, part] for part in path], dim=1) if len(path) > 1 else value[:, path[0]]
            output = nn.functional.scaled_dot_product_attention(
                query[None, :, path[-1]],
                keys[None],
                values[None],
                attn_mask=mask,
                is_causal=mask is None,
                scale=scaling,
                enable_gqa=True,
            )
            outputs.append(output[0])
        return torch.cat(outputs, dim=1).transpose(0, 1)

    def _attend_rows(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        key_heads, rows, _ = key.shape
        self.keys[layer][:, :, self.written] = key.transpose(0, 1)
        self.values[layer][:, :, self.written] = value.transpose(0, 1)
        own_keys = self.keys[layer][:, :, : self.written + 1]
        own_values = self.values[layer][:, :, : self.written + 1]
        # the heads that share a key head are one group: [rows, key heads, group, size]
        query = query.view(key_heads, -1, rows, query.shape[-1]).permute(2, 0, 1, 3) * scaling
        scores = [level.multiply(query, level.keys[layer].transpose(2, 3)) for level in self.levels]
        columns = [score.shape[-1] for score in scores]
        joined = torch.cat([*scores, query @ own_keys.transpose(2, 3)], dim=-1)
        joined[..., : self.mask.shape[-1]] += self.mask
        weights = joined.softmax(dim=-1, dtype=torch.float32).to(query.dtype)
        *parts, own = torch.split(weights, [*columns, self.written + 1], dim=-1)
        output: Tensor = own @ own_values
        for level, part in zip(self.levels, parts, strict=True):
            output += level.multiply(part, level.values[layer])
        return output.reshape(rows, -1, output.shape[-1])


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    *,
    scaling: float | None = None,
    tree: Tree,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The attention function that transformers calls in every layer: [1, heads, tokens, size] in."""
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    return tree.attend(module.layer_idx, query[0], key[0], value[0], scaling)[None], None


def use_tree(model: PreTrainedModel) -> None:
    """From now on the model's attention is the tree's: its forward needs the argument `tree`."""
    use_attention(model, "shared_prefix_tree", _attend)
