"""The local engine: transformers, made for many samples of prompts that begin alike.

A batch is as many requests as fit the token budget, in the order given. Its prompts are computed once each, a
shared prefix once for all of them (tree.py), and a row leaves the batch when it ends. Every row draws from a stream of
its own, so a text depends on the rows beside it through the rounding of floating point alone; and since batches are
planned over all requests, done or not, a resumed run repeats even that.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # one text at a time: threads only warn about forks

import torch
import transformers.utils
from torch.nn.functional import linear

from metareward.engines.transformers.extras import no_extras

with no_extras():
    from transformers import AutoModelForCausalLM, PreTrainedModel

    from metareward.engines.transformers.attention import supports  # it imports the models' base, and that scipy

from metareward.engines.common.batches import EncodedRequest, completion, encode, plan_batches, too_long
from metareward.engines.common.device import best_dtype
from metareward.engines.common.interface import Completion, Request
from metareward.engines.common.tokenizer import end_tokens, load_tokenizer
from metareward.engines.transformers.padded import PaddedRows
from metareward.engines.transformers.sampling import sample_tokens, top_logprobs, uniform_streams
from metareward.engines.transformers.tree import Tree, compaction, use_tree
from metareward.errors import UserError
from metareward.params import Scalar


class TransformersEngine:
    """A Generator with the model of a folder loaded on the device."""

    def __init__(
        self,
        model_path: Path,
        dtype: str = "auto",
        batch_tokens: int = 24576,
        max_context: int | None = None,
        device: str = "auto",
        chat_template_kwargs: Mapping[str, Scalar] | None = None,
    ) -> None:
        """dtype: auto, float32 or bfloat16. batch_tokens: key-value slots of a batch; it bounds memory.

        max_context: tokens of prompt and completion together; null: all that the model has. device: auto is CUDA where
        there is one. Raises UserError when max_context is more than the model's.
        """
        transformers.utils.logging.disable_progress_bar()
        self.device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        self.dtype = getattr(torch, best_dtype() if dtype == "auto" else dtype)
        self.tokenizer = load_tokenizer(model_path, chat_template_kwargs)
        self.ends = end_tokens(model_path, self.tokenizer)
        self.model = AutoModelForCausalLM.from_pretrained(
            model_path, dtype=self.dtype, attn_implementation="sdpa", local_files_only=True
        )
        self.model.to(self.device).eval()
        self.batch_tokens = batch_tokens
        self.max_context = _max_context(self.model.config, max_context)
        self.shares_prefixes = supports(self.model)
        if self.shares_prefixes:
            use_tree(self.model)

    @torch.inference_mode()
    def generate(self, requests: Iterable[Request], done: Collection[str] = ()) -> Iterator[list[Completion]]:
        """Completions of one batch after the other, in the order of the requests. See interface.Generator."""
        for batch in plan_batches(encode(self.tokenizer, requests, self.max_context), self.batch_tokens):
            missing = [prompt for prompt in batch if prompt.request.id not in done]
            if not missing:
                continue
            # all that the batch had, done or not, so that its rows are those of an undisturbed run
            fitting = [prompt for prompt in batch if prompt.room > 0]
            written = iter(self._write(fitting) if any(prompt.room > 0 for prompt in missing) else [])
            completions = []
            for prompt in batch:
                rows = list(islice(written, prompt.request.n)) if prompt.room > 0 else too_long(prompt.request)
                completions += rows if prompt.request.id not in done else []
            yield completions

    def _write(self, prompts: Sequence[EncodedRequest]) -> list[Completion]:
        """All samples of a batch of prompts that have room."""
        copies = [prompt.request.n for prompt in prompts]
        rows = [prompt for prompt, n in zip(prompts, copies, strict=True) for _ in range(n)]
        samples = [sample for n in copies for sample in range(n)]
        keys = [(row.request.seed, row.request.id, sample) for row, sample in zip(rows, samples, strict=True)]
        room = np.array([row.room for row in rows])
        uniform = uniform_streams(keys, int(room.max())).to(self.device)
        temperature = torch.tensor([row.request.sampling.temperature for row in rows], device=self.device)
        top_p = torch.tensor([row.request.sampling.top_p for row in rows], dtype=torch.float64, device=self.device)
        written = np.zeros((len(rows), int(room.max())), dtype=np.int64)
        lengths = np.zeros(len(rows), dtype=np.int64)
        ended = np.zeros(len(rows), dtype=bool)

        make = Tree if self.shares_prefixes else PaddedRows
        running = make(self.model, [prompt.tokens for prompt in prompts], copies, int(room.max()))
        with _head_in_float32(self.model) if any(row.request.first_logprobs for row in rows) else nullcontext():
            logits = running.prefill()
        first = self._first_logprobs(rows, logits)
        places = np.arange(len(rows))  # of the running rows among all
        step = 0
        while True:
            at = torch.from_numpy(places).to(self.device)
            tokens = sample_tokens(logits, temperature[at], top_p[at], uniform[at, step])
            step += 1
            drawn = tokens.cpu().numpy()
            written[places, step - 1] = drawn
            lengths[places] = step
            ended[places] = np.isin(drawn, self.ends)
            going = np.flatnonzero(~ended[places] & (room[places] > step))
            if len(going) == 0:
                break
            if len(going) < len(places):
                order = compaction(going)
                places, tokens = places[order], tokens[torch.from_numpy(order).to(self.device)]
                running.keep(order)
            logits = running.step(tokens)
        finishes = np.where(ended, "stop", "length").tolist()
        return [
            completion(
                self.tokenizer, prompt, sample, written[row, : lengths[row]].tolist(), finish, self.ends, first.get(row)
            )
            for row, (prompt, sample, finish) in enumerate(zip(rows, samples, finishes, strict=True))
        ]

    @staticmethod
    def _first_logprobs(rows: Sequence[EncodedRequest], logits: torch.Tensor) -> dict[int, list[tuple[int, float]]]:
        """The likeliest first tokens of the rows whose requests want them; logits: [rows, vocabulary]."""
        asking = [place for place, row in enumerate(rows) if row.request.first_logprobs]
        most = max((rows[place].request.first_logprobs for place in asking), default=0)
        return dict(zip(asking, top_logprobs(logits[asking], most), strict=True)) if asking else {}


@contextmanager
def _head_in_float32(model: PreTrainedModel) -> Iterator[None]:
    """Logits that are not rounded to the model's dtype: bfloat16's neighbours near 40 are 0.25 apart."""
    head = model.get_output_embeddings()
    bias = None if head.bias is None else head.bias.float()
    head.forward = lambda hidden: linear(hidden.float(), head.weight.float(), bias)
    try:
        yield
    finally:
        del head.forward  # the class's own again


def _max_context(config: Any, wanted: int | None) -> int:
    limit: int | None = getattr(config, "max_position_embeddings", None)
    if wanted and limit and wanted > limit:
        raise UserError(
            f"max_context is {wanted}, but the model was made for {limit} tokens. (params.yaml: engine.max_context)"
        )
    if not (found := wanted or limit):
        raise UserError("the model's config names no context length; set one. (params.yaml: engine.max_context)")
    return found
