"""vLLM: continuous batching on GPUs or, with its CPU build, on all cores.

Requests go in as token ids and in order, a window of them at a time; completions come out as they finish. Draws come
from one stream of the engine, seeded at the start: what a row draws depends on the rows that run beside it, so a run
that was interrupted ends in other texts of the same distribution than an undisturbed one.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from metareward.engines.common.batches import EncodedRequest, completion, encode, too_long
from metareward.engines.common.interface import Completion, Request
from metareward.engines.common.tokenizer import end_tokens, load_tokenizer
from metareward.errors import UserError
from metareward.params import Scalar

# Read when vllm is imported. In this process: nothing is left behind when it is killed, and draws repeat.
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", ",".join(map(str, sorted(os.sched_getaffinity(0)))))
os.environ.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")  # GB

from vllm import LLM, SamplingParams, TokensPrompt
from vllm.platforms import current_platform
from vllm.sampling_params import RequestOutputKind


class VllmEngine:
    """A Generator with the model of a folder loaded into vLLM."""

    def __init__(
        self,
        model_path: Path,
        dtype: str,
        max_context: int,
        tensor_parallel: int,
        seed: int,
        chat_template_kwargs: Mapping[str, Scalar],
        options: Mapping[str, Any],
    ) -> None:
        """dtype: auto, float32 or bfloat16. max_context: tokens of prompt and completion together.

        tensor_parallel: GPUs over which the model is split. seed: of the engine's one stream of draws. options: vLLM's
        own, as `check_options` lets them pass. Raises UserError when vLLM refuses the model or these settings.
        """
        self.tokenizer = load_tokenizer(model_path, chat_template_kwargs)
        self.ends = end_tokens(model_path, self.tokenizer)
        # unless params say otherwise; compiling takes minutes on a CPU and wins little
        defaults = {"enable_prefix_caching": True, "enforce_eager": current_platform.is_cpu()}
        try:
            self.llm = LLM(
                model=str(model_path),
                dtype=dtype,
                max_model_len=max_context,
                tensor_parallel_size=tensor_parallel,
                seed=seed % 2**31,
                generation_config="vllm",  # ours alone: no sampling defaults of the model's
                logprobs_mode="raw_logprobs",  # the model's own distribution
                disable_log_stats=False,
                **{**defaults, **options},
            )
        except (ValueError, TypeError) as error:
            hint = f" (params.yaml: engine.vllm.{', engine.vllm.'.join(options)})" if options else ""
            raise UserError(f"vLLM can't run {model_path}: {' '.join(str(error).split())[:300]}{hint}") from None
        self.max_context = max_context
        self.finished: dict[str, Any] = {}  # outputs that no `generate` has taken yet

    def generate(self, requests: Iterable[Request], done: Collection[str] = ()) -> Iterator[list[Completion]]:
        """The requests that finished in one step after the other, often none. See interface.Generator.

        Several of these may be gone through in turns: what they ask for runs side by side.
        """
        engine: Any = self.llm.llm_engine
        window = 2 * engine.vllm_config.scheduler_config.max_num_seqs  # keeps its queue full and memory flat
        missing = (request for request in requests if request.id not in done)
        waiting = encode(self.tokenizer, missing, self.max_context)
        running: dict[str, EncodedRequest] = {}
        exhausted = False
        while True:
            room = max(0, window - sum(p.request.n for p in running.values()))
            # a prompt that is still being encoded is waited for only where there is nothing else to do
            while room and not exhausted and (waiting.ready or not engine.has_unfinished_requests()):
                room -= 1
                prompt = next(waiting, None)
                if prompt is None:
                    exhausted = True
                elif prompt.room:
                    running[prompt.request.id] = prompt
                    tokens = TokensPrompt(prompt_token_ids=list(prompt.tokens))
                    engine.add_request(prompt.request.id, tokens, self._sampling(prompt))
                else:
                    yield too_long(prompt.request)
            if exhausted and not running:
                return
            if self.finished.keys().isdisjoint(running):
                self.finished |= {output.request_id: output for output in engine.step()}
            mine = [id_ for id_ in self.finished if id_ in running]
            yield [done for id_ in mine for done in self._completions(running.pop(id_), self.finished.pop(id_))]

    def _completions(self, prompt: EncodedRequest, output: Any) -> list[Completion]:
        samples = sorted(output.outputs, key=lambda sample: sample.index)
        return [
            completion(
                self.tokenizer, prompt, s.index, list(s.token_ids), s.finish_reason, self.ends, _first_logprobs(s)
            )
            for s in samples
        ]

    def _sampling(self, prompt: EncodedRequest) -> SamplingParams:
        sampling = prompt.request.sampling
        return SamplingParams(
            n=prompt.request.n,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_tokens=prompt.room,
            logprobs=prompt.request.first_logprobs or None,
            stop_token_ids=self.ends,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )


def _first_logprobs(sample: Any) -> list[tuple[int, float]] | None:
    """The likeliest first tokens, and the one that was drawn, before temperature (logprobs_mode raw_logprobs)."""
    return [(id_, found.logprob) for id_, found in sample.logprobs[0].items()] if sample.logprobs else None
