"""A model behind an OpenAI-compatible endpoint that is known by its name alone, as a benchmark's judge is.

It is asked by messages through `chat/completions`, since its tokenizer is the server's own. Draws are the server's, and
so is the number of tokens. A prompt that leaves no room in its context is "too_long", like everywhere else; a limit on
new tokens that is beyond its context is lowered to what has room. Each sample is a request of its own, so that
each has its own number of tokens, and a server that knows no `n` will do.
"""

import sys
import time
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import openai
from tqdm import tqdm

from metareward.engines.common.batches import HALF, check_finish, too_long
from metareward.engines.common.chat import CLOSE, OPEN
from metareward.engines.common.interface import Completion, Endpoint, FirstLogprobs, Request
from metareward.engines.openai.client import DEFAULT_KEY, connect, in_flight, reason, shown_url
from metareward.engines.openai.refused import UNKNOWN, refused_setting, room, said_by, wants_other_limit
from metareward.errors import UserError

AGAIN = (0.5, 1.0, 2.0, 4.0)  # seconds before an answer that holds nothing is asked for again
NO_ROOM = (400, 413, 422)  # HTTP statuses with which servers refuse a prompt or a setting
SHOWN = 200  # characters of a server's own words in an error
CHARS_PER_TOKEN = 4  # where a server does not count its tokens
ENDINGS = {  # of servers that have names of their own for how a text ended
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "safety": "content_filter",
}


class ChatEngine:
    """A Generator that asks a server's chat/completions."""

    def __init__(self, endpoint: Endpoint, concurrency: int) -> None:
        """concurrency: requests in flight. Raises UserError when nothing answers there, or the key is not taken."""
        self.endpoint, self.concurrency = endpoint, concurrency
        self.key_place = f"params.yaml: resources.judges.{endpoint.model}.key"
        self.client = connect(endpoint.base_url, f"({self.key_place})", endpoint.key)
        self.name = f"{endpoint.model} at {shown_url(endpoint.base_url)}"
        self.limit = "max_tokens"  # what the server calls the limit on new tokens
        self.told: set[str] = set()
        self._reach()

    def generate(self, requests: Iterable[Request], done: Collection[str] = ()) -> Iterator[list[Completion]]:
        """All samples of one request in a list, as answers come in. See interface.Generator."""
        yield from in_flight((request for request in requests if request.id not in done), self._ask, self.concurrency)

    def _reach(self) -> None:
        """Many servers list no models: all that is looked at is whether one is there and takes the key."""
        try:
            self.client.with_options(max_retries=1).get("/models", cast_to=object)
        except openai.APIConnectionError as error:
            raise UserError(
                f"nothing answers at {shown_url(self.endpoint.base_url)} ({reason(error)}). Hint: start the server. "
                f"(params.yaml: resources.judges.{self.endpoint.model}.base_url, resources.base_url)"
            ) from None
        except openai.AuthenticationError as error:
            raise self._key_refused(error) from None
        except (openai.OpenAIError, ValueError):
            pass

    def _ask(self, request: Request) -> list[Completion]:
        samples = []
        for sample in range(request.n):
            found = self._sample(request, sample, request.sampling.max_tokens)
            if found is None:
                return too_long(request)
            samples.append(found)
        return samples

    def _sample(self, request: Request, sample: int, max_tokens: int) -> Completion | None:
        """One sample; None: its prompt leaves no room for a single token."""
        limit = self.limit
        try:
            return self._completion(request, sample, self._answer(request, limit, max_tokens))
        except openai.APIStatusError as error:
            refusal, said = error, said_by(error.body) or error.message
        except openai.OpenAIError as error:
            raise UserError(f"{self.name} did not answer request {request.id}: {reason(error)}") from None
        left = room(said, max_tokens) if refusal.status_code in NO_ROOM else None
        if left is None and limit == "max_tokens" and wants_other_limit(said):
            self.limit = "max_completion_tokens"
            return self._sample(request, sample, max_tokens)
        if left is None:
            raise self._refused(request, refusal, said)
        if left == UNKNOWN and max_tokens > 1:
            if self._sample(request, sample, 1) is None:
                return None
            raise UserError(
                f"{self.name} has no room for {max_tokens} new tokens after request {request.id}, and does not say for "
                "how many. Hint: lower max_tokens of what it is asked."
            )
        return self._sample(request, sample, left) if left > 0 else None

    def _answer(self, request: Request, limit: str, max_tokens: int) -> Any:
        """What the server says, as parsed JSON; where there is nothing in it, it is asked again, and that is told."""
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": self.endpoint.model,
            "messages": [dict(message) for message in request.messages],
            "temperature": sampling.temperature,
            limit: max_tokens,
        }
        body |= {"top_p": sampling.top_p} if sampling.top_p < 1 else {}
        body |= {"logprobs": True, "top_logprobs": request.first_logprobs} if request.first_logprobs else {}
        for seconds in (*AGAIN, None):
            try:
                answer: Any = self.client.post("/chat/completions", body=body, cast_to=object)
            except ValueError:  # no JSON
                answer = None
            choices = answer.get("choices") if isinstance(answer, dict) else None
            if isinstance(choices, list) and choices and isinstance(choices[0], dict):
                return answer
            said = self._shown(said_by(answer.get("error"))) if isinstance(answer, dict) else ""
            if seconds is not None:
                tqdm.write(f"{self.name} gave no text for request {request.id}; asked again. {said}", file=sys.stderr)
                time.sleep(seconds)
        raise UserError(f"{self.name} gave no text for request {request.id}, {len(AGAIN) + 1} times. {said}".rstrip())

    def _completion(self, request: Request, sample: int, answer: dict[str, Any]) -> Completion:
        choice = answer["choices"][0]
        finish = str(choice.get("finish_reason")).lower()
        finish = ENDINGS.get(finish, finish)
        check_finish(request, finish)
        text = _text(choice.get("message") or {})
        text = text if finish == "stop" else text.rstrip(HALF)
        content = list((choice.get("logprobs") or {}).get("content") or ())
        n_tokens = (answer.get("usage") or {}).get("completion_tokens")
        if not isinstance(n_tokens, int):
            n_tokens = len(content) or round(len(text) / CHARS_PER_TOKEN)
            self._tell(f"{self.name} does not count its tokens; n_tokens is estimated from the length of its texts")
        return Completion(request.id, sample, text, n_tokens, finish, _first_logprobs(content, request.first_logprobs))

    def _refused(self, request: Request, error: openai.APIStatusError, said: str) -> UserError:
        """What the user can do about a refusal."""
        where, shown = self.endpoint.where, self._shown(said)
        sent = {"temperature", *(["logprobs"] if request.first_logprobs else [])}
        sent |= {"top_p"} if request.sampling.top_p < 1 else set()
        setting = refused_setting(said, error.param, sent) if error.status_code in (*NO_ROOM, 403) else None
        if setting == "logprobs":
            return UserError(
                f"{self.name} gives no {request.first_logprobs} log-probabilities: {shown}. Set logprobs to false, and "
                f"its verdicts are read from texts. (params.yaml: {where}.logprobs)"
            )
        if setting:
            value = getattr(request.sampling, setting)
            return UserError(
                f"{self.name} does not take {setting} {value:g}, at which it is asked: {shown}. Choose another model. "
                f"(params.yaml: {where}.model)"
            )
        if error.status_code in (401, 403):
            return self._key_refused(error)
        if error.status_code == 404:
            return UserError(
                f"{self.name} is not there ({reason(error)}): {shown}. (params.yaml: {where}.model, resources.judges."
                f"{self.endpoint.model}.base_url)"
            )
        return UserError(
            f"{self.name} did not answer request {request.id}: {reason(error)}: {shown}. Hint: what is answered is "
            "kept, and a rerun goes on from there."
        )

    def _key_refused(self, error: openai.APIStatusError) -> UserError:
        """Without the server's own words: some repeat the key."""
        name = f"that {self.key_place} names" if self.endpoint.key else DEFAULT_KEY
        return UserError(f"{self.name} does not take the key in the environment variable {name} ({reason(error)}).")

    def _shown(self, said: str) -> str:
        """A server's own words, short and without the key."""
        return said.replace(str(self.client.api_key), "***")[:SHOWN].rstrip(". ")

    def _tell(self, line: str) -> None:
        if line not in self.told:
            self.told.add(line)
            tqdm.write(line, file=sys.stderr)


def _text(message: dict[str, Any]) -> str:
    """What was written: the content, or what the model refuses with; a thought that the server keeps apart before it.

    Content may be null (nothing was written), or in parts.
    """
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    said = str(content or message.get("refusal") or "")
    thought = message.get("reasoning_content") or message.get("reasoning")
    return f"{OPEN}{thought}{CLOSE}{said}" if isinstance(thought, str) else said


def _first_logprobs(content: list[Any], n: int) -> FirstLogprobs | None:
    """The likeliest first tokens, out of the log-probabilities of all tokens."""
    top = content[0].get("top_logprobs") if n and content and isinstance(content[0], dict) else None
    named = [(token.get("token"), token.get("logprob")) for token in top or () if isinstance(token, dict)]
    found = [(str(token), float(value)) for token, value in named if token is not None and value is not None]
    return tuple(sorted(found, key=lambda token: -token[1])[:n]) or None
