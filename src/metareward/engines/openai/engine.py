"""Any OpenAI-compatible endpoint that takes token ids, vLLM's server first of all.

Prompts are sent to `completions` as token ids, so that they are the ones every other engine would use. The server must
serve the checkpoint under its name (sft, m1, ...). The key comes from OPENAI_API_KEY alone and goes nowhere else.

Draws are the server's own. Requests carry no seed: with one, too, texts would not repeat, since rounding depends on the
rows that run beside; and vLLM 0.32 on CPUs dies of a seeded prompt that it prefills in pieces.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import Any

import openai

from metareward.engines.common.batches import EncodedRequest, completion, encode, too_long, written
from metareward.engines.common.chat import opened_thought
from metareward.engines.common.interface import Completion, Request
from metareward.engines.common.tokenizer import end_tokens, load_tokenizer
from metareward.errors import UserError
from metareward.params import Scalar

RETRIES = 60  # the client waits up to 8 s between two, or as long as the server says: a restart of minutes is survived


class OpenAIEngine:
    """A Generator that asks a server. Samples of one request are asked for together."""

    def __init__(
        self,
        model_path: Path,
        base_url: str,
        concurrency: int,
        max_context: int,
        chat_template_kwargs: Mapping[str, Scalar],
    ) -> None:
        """model_path: the checkpoint, for its tokenizer; its folder's name is the model asked for.

        concurrency: requests in flight. Raises UserError when nothing answers at base_url, or not with that model.
        """
        key = os.environ.get("OPENAI_API_KEY", "none")
        self.client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=RETRIES, timeout=3600)
        self.model, self.concurrency, self.max_context = model_path.name, concurrency, max_context
        self.tokenizer = load_tokenizer(model_path, chat_template_kwargs)
        self.ends = end_tokens(model_path, self.tokenizer)
        try:
            served = [model.id for model in self.client.with_options(max_retries=2).models.list()]
        except openai.OpenAIError as error:
            raise UserError(
                f"{base_url} gives no list of models ({type(error).__name__}). Hint: start the server, and set "
                "OPENAI_API_KEY if it wants a key. (params.yaml: resources.base_url)"
            ) from None
        if self.model not in served:
            raise UserError(
                f"{base_url} serves {', '.join(served) or 'nothing'}, not {self.model}. Hint: python -m "
                f"vllm.entrypoints.openai.api_server --model {model_path} --served-model-name {self.model}"
            )

    def generate(self, requests: Iterable[Request], done: Collection[str] = ()) -> Iterator[list[Completion]]:
        """All samples of one request in a list, as answers come in. See interface.Generator."""
        missing = (request for request in requests if request.id not in done)
        waiting = encode(self.tokenizer, missing, self.max_context)
        running: set[Future[list[Completion]]] = set()
        with ThreadPoolExecutor(self.concurrency) as threads:
            try:
                while True:
                    for prompt in islice(waiting, self.concurrency - len(running)):
                        running.add(threads.submit(self._ask, prompt))
                    if not running:
                        return
                    answered, running = wait(running, return_when=FIRST_COMPLETED)
                    for answer in answered:
                        yield answer.result()
            finally:
                threads.shutdown(cancel_futures=True)

    def _ask(self, prompt: EncodedRequest) -> list[Completion]:
        if not prompt.room:
            return too_long(prompt.request)
        request = prompt.request
        try:
            answer = self.client.completions.create(
                model=self.model,
                prompt=list(prompt.tokens),
                n=request.n,
                temperature=request.sampling.temperature,
                top_p=request.sampling.top_p,
                max_tokens=prompt.room,
                extra_body={"return_token_ids": True, "stop_token_ids": self.ends},
            )
        except openai.OpenAIError as error:
            raise UserError(f"the server did not answer request {request.id}: {_reason(error)}") from None
        return [self._completion(prompt, choice) for choice in answer.choices]

    def _completion(self, prompt: EncodedRequest, choice: Any) -> Completion:
        """vLLM returns token ids; from another server's text their number is what the text has."""
        tokens = getattr(choice, "token_ids", None)
        if tokens:
            return completion(self.tokenizer, prompt, choice.index, tokens, choice.finish_reason, self.ends)
        n_tokens = len(self.tokenizer(choice.text, add_special_tokens=False)["input_ids"])
        return written(
            prompt, choice.index, opened_thought(self.tokenizer) + choice.text, n_tokens, choice.finish_reason
        )


def _reason(error: openai.OpenAIError) -> str:
    """What went wrong, in one line and without what was sent."""
    status = getattr(error, "status_code", None)
    return f"{type(error).__name__}{f' (HTTP {status})' if status else ''}"
