"""The exact top-p sampler, without sorting the vocabulary."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from metareward.ids import content_seed

CANDIDATES = 128


def uniform_streams(keys: Sequence[tuple[int, str, int]], steps: int) -> Tensor:
    """Uniform draws in [0, 1), [rows, steps], float64: one stream for each (seed, request id, sample).

    A row's draws depend on its key and the step alone, not on the rows it shares a batch with.
    """
    streams = [np.random.Generator(np.random.Philox(key=content_seed(*key))).random(steps) for key in keys]
    return torch.from_numpy(np.stack(streams))


def top_logprobs(logits: Tensor, n: int) -> list[list[tuple[int, float]]]:
    """For each row the n likeliest tokens and their log-probabilities, in float32; logits: [rows, vocabulary]."""
    values, ids = logits.float().log_softmax(dim=-1).topk(min(n, logits.shape[-1]), dim=-1)
    return [list(zip(*row, strict=True)) for row in zip(ids.tolist(), values.tolist(), strict=True)]


def sample_tokens(logits: Tensor, temperature: Tensor, top_p: Tensor, uniform: Tensor) -> Tensor:
    """One token for each row, [rows]: the most likely one at temperature 0, else a draw from the nucleus.

    logits: [rows, vocabulary]; temperature, top_p, uniform: [rows]. The nucleus is the smallest set of most likely
    tokens whose mass is at least top_p (Holtzman et al. 2020); the draw inverts its distribution function at `uniform`,
    tokens in descending order of probability. The mass is known from the normaliser over the whole vocabulary, so the
    order matters only as far down as the draw reaches: CANDIDATES tokens are ordered, and more only for a row whose
    draw they do not settle. Departs from sorting everything by rounding alone.
    """
    tokens = logits.argmax(dim=-1)
    rows = temperature.nonzero().squeeze(1)
    if len(rows) == 0:
        return tokens
    everything = len(rows) == len(tokens)
    scaled = (logits if everything else logits[rows]).float() / temperature[rows, None].float()
    normaliser = scaled.logsumexp(dim=-1, keepdim=True)
    top_p, uniform = top_p[rows, None].double(), uniform[rows, None]
    n_candidates, vocabulary = CANDIDATES, logits.shape[1]
    while len(rows):
        n_candidates = min(n_candidates, vocabulary)
        values, order = scaled.topk(n_candidates, dim=-1)
        probability = (values - normaliser).double().exp()
        mass = probability.cumsum(dim=-1)
        last = (mass < top_p).sum(dim=-1, keepdim=True)  # place of the nucleus' last token; n_candidates: beyond them
        inside = last < n_candidates
        nucleus = mass.gather(1, last.clamp(max=n_candidates - 1))
        if n_candidates < vocabulary:
            # beyond the candidates the nucleus' mass is known only within the last candidate's probability
            low = torch.where(inside, nucleus, top_p)
            high = torch.where(inside, nucleus, (top_p + probability[:, -1:]).clamp(max=1))
            first, second = ((mass <= uniform * bound).sum(dim=-1) for bound in (low, high))
            settled = (first == second) & (first < n_candidates)
        else:
            first = (mass <= uniform * nucleus).sum(dim=-1)
            settled = torch.ones_like(first, dtype=torch.bool)
        chosen = order.gather(1, first.clamp(max=n_candidates - 1)[:, None]).squeeze(1)
        tokens[rows[settled]] = chosen[settled]
        open_ = ~settled
        rows, scaled, normaliser = rows[open_], scaled[open_], normaliser[open_]
        top_p, uniform = top_p[open_], uniform[open_]
        n_candidates *= 32
    return tokens
