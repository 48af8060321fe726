"""Any OpenAI-compatible endpoint that takes token ids, vLLM's server first of all.

Prompts are sent to `completions` as token ids, so that they are the ones every other engine would use. The server must
serve the checkpoint under its name (sft, m1, ...). The key comes from OPENAI_API_KEY alone and goes nowhere else.

Draws are the server's own. Requests carry no seed: with one, too, texts would not repeat, since rounding depends on the
rows that run beside; and vLLM 0.32 on CPUs dies of a seeded prompt that it prefills in pieces.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai

from metareward.engines.common.batches import EncodedRequest, completion, encode, too_long, written
from metareward.engines.common.chat import opened_thought, token_text
from metareward.engines.common.interface import Completion, FirstLogprobs, Request
from metareward.engines.common.tokenizer import end_tokens, load_tokenizer
from metareward.engines.openai.client import connect, in_flight, reason, shown_url
from metareward.errors import UserError
from metareward.params import Scalar


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
        self.client = connect(base_url, "(params.yaml: resources.base_url)")
        self.model, self.concurrency, self.max_context = model_path.name, concurrency, max_context
        self.tokenizer = load_tokenizer(model_path, chat_template_kwargs)
        self.ends = end_tokens(model_path, self.tokenizer)
        try:
            served = [model.id for model in self.client.with_options(max_retries=2).models.list()]
        except openai.OpenAIError as error:
            raise UserError(
                f"{shown_url(base_url)} gives no list of models ({type(error).__name__}). Hint: start the server, and "
                "set OPENAI_API_KEY if it wants a key. (params.yaml: resources.base_url)"
            ) from None
        if self.model not in served:
            raise UserError(
                f"{shown_url(base_url)} serves {', '.join(served) or 'nothing'}, not {self.model}. Hint: python -m "
                f"vllm.entrypoints.openai.api_server --model {model_path} --served-model-name {self.model}"
            )

    def generate(self, requests: Iterable[Request], done: Collection[str] = ()) -> Iterator[list[Completion]]:
        """All samples of one request in a list, as answers come in. See interface.Generator."""
        missing = (request for request in requests if request.id not in done)
        yield from in_flight(encode(self.tokenizer, missing, self.max_context), self._ask, self.concurrency)

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
                logprobs=request.first_logprobs or None,
                extra_body={
                    "return_token_ids": True,
                    "return_tokens_as_token_ids": bool(request.first_logprobs),
                    "stop_token_ids": self.ends,
                },
            )
        except openai.OpenAIError as error:
            raise UserError(f"the server did not answer request {request.id}: {reason(error)}") from None
        return [self._completion(prompt, choice) for choice in answer.choices]

    def _completion(self, prompt: EncodedRequest, choice: Any) -> Completion:
        """vLLM returns token ids; from another server's text their number is what the text has."""
        tokens, first = getattr(choice, "token_ids", None), self._first_logprobs(prompt, choice)
        if tokens:
            found = completion(self.tokenizer, prompt, choice.index, tokens, choice.finish_reason, self.ends)
            return replace(found, first_logprobs=first)
        n_tokens = len(self.tokenizer(choice.text, add_special_tokens=False)["input_ids"])
        text = opened_thought(self.tokenizer) + choice.text
        return written(prompt.request, choice.index, text, n_tokens, choice.finish_reason, first)

    def _first_logprobs(self, prompt: EncodedRequest, choice: Any) -> FirstLogprobs | None:
        """vLLM names tokens by their ids, as token_id:7; another server by their texts.

        Raises UserError where they were asked for and a text came without them.
        """
        if not prompt.request.first_logprobs:
            return None
        top = getattr(getattr(choice, "logprobs", None), "top_logprobs", None)
        if not top or not top[0]:
            if not choice.text:
                return None
            raise UserError(
                "the server gives no log-probabilities, which judge.read first_token needs. Hint: judge.read: text, or "
                "a server that does, as vLLM. (params.yaml: judge.read)"
            )
        likeliest = sorted(top[0].items(), key=lambda token: -token[1])[: prompt.request.first_logprobs]
        return tuple((self._text(name), logprob) for name, logprob in likeliest)

    def _text(self, name: str) -> str:
        named = re.fullmatch(r"token_id:(\d+)", name)
        if named:
            return token_text(self.tokenizer, int(named[1]))
        return name.replace("\u2581", " ")  # SentencePiece's blank
