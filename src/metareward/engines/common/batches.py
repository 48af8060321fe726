"""Requests as token ids, and as batches: what every engine that runs a model itself begins with."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from metareward.engines.common.chat import decode, encode_chats, opened_thought, token_text
from metareward.engines.common.interface import Completion, FirstLogprobs, Request
from metareward.errors import UserError

FINISH_REASONS = ("stop", "length", "content_filter")  # of a text that was written
HALF = "\ufffd"  # what a decoder makes of the first bytes of a character that a cut went through
Row = TypeVar("Row", bound=tuple[Any, ...])
ENCODED_AHEAD = 256  # prompts that are tokenised together, on all cores: one by one, half a million take a core minutes


@dataclass(frozen=True)
class EncodedRequest:
    """A request with its prompt's token ids; room: how many tokens may follow them, 0 where it does not fit."""

    request: Request
    tokens: Sequence[int]
    room: int


class Encoded(Iterator[EncodedRequest]):
    """Requests as prompts, in their order. While ENCODED_AHEAD of them are worked on, a thread encodes the next.

    The tokenizer does its work without Python's lock, so a thread that keeps a GPU busy need not wait for it.
    """

    def __init__(self, tokenizer: Any, requests: Iterable[Request], max_context: int) -> None:
        self._tokenizer, self._requests, self._max_context = tokenizer, iter(requests), max_context
        self._prompts: deque[EncodedRequest] = deque()
        self._thread = ThreadPoolExecutor(1)  # ends with this object
        self._coming = self._thread.submit(self._encode_some)

    @property
    def ready(self) -> bool:
        """Whether the next one is there, or known not to come, without waiting."""
        return bool(self._prompts) or self._coming.done()

    def __next__(self) -> EncodedRequest:
        if not self._prompts:
            self._prompts.extend(self._coming.result())
            if not self._prompts:
                raise StopIteration
            self._coming = self._thread.submit(self._encode_some)
        return self._prompts.popleft()

    def _encode_some(self) -> list[EncodedRequest]:
        ahead = list(islice(self._requests, ENCODED_AHEAD))
        encoded = encode_chats(self._tokenizer, [request.messages for request in ahead]) if ahead else []
        return [
            EncodedRequest(request, tokens, max(0, min(request.sampling.max_tokens, self._max_context - len(tokens))))
            for request, tokens in zip(ahead, encoded, strict=True)
        ]


def encode(tokenizer: Any, requests: Iterable[Request], max_context: int) -> Encoded:
    """The requests as prompts; max_context: tokens of prompt and completion together."""
    return Encoded(tokenizer, requests, max_context)


def plan_batches(prompts: Iterable[EncodedRequest], batch_tokens: int) -> Iterator[list[EncodedRequest]]:
    """Prompts in batches of batch_tokens key-value slots, in the order given.

    A prompt counts with what it does not share with the one before it, a row with the tokens it may write. A prompt
    that is larger than the budget is a batch of its own. A batch planned again on its own is the same batch.
    """
    batch: list[EncodedRequest] = []
    slots = 0
    for prompt in prompts:
        rows = prompt.request.n * prompt.room
        shared = common_prefix(batch[-1].tokens, prompt.tokens) if batch else 0
        if batch and slots + len(prompt.tokens) - shared + rows > batch_tokens:
            yield batch
            batch, slots, shared = [], 0, 0
        slots += len(prompt.tokens) - shared + rows
        batch.append(prompt)
    if batch:
        yield batch


def plan_by_length(rows: Iterable[Row], batch_tokens: int) -> Iterator[list[Row]]:
    """Rows of rising length, which is their first item, in batches of at most batch_tokens tokens, padding included.

    A longer row is alone.
    """
    batch: list[Row] = []
    for row in rows:
        if batch and (len(batch) + 1) * row[0] > batch_tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """The length of the shared prefix of two prompts, in tokens."""
    length = min(len(left), len(right))
    if left[:length] == right[:length]:
        return length
    return next(place for place in range(length) if left[place] != right[place])


def completion(
    tokenizer: Any,
    prompt: EncodedRequest,
    sample: int,
    tokens: Sequence[int],
    finish_reason: str,
    ends: Sequence[int],
    first: Iterable[tuple[int, float]] | None = None,
) -> Completion:
    """A sample from its token ids. finish_reason: what the engine says; ends: the tokens that end a turn.

    first: ids and log-probabilities of the first token, of which the request's first_logprobs likeliest are kept.
    A <think> that the prompt has opened is put before the text, so that a thought can be told in the text alone.
    Some servers keep the end token of a text that ended to themselves; it counts nevertheless.
    """
    closed = finish_reason == "stop" and bool(tokens) and tokens[-1] in ends
    text = opened_thought(tokenizer) + decode(tokenizer, tokens[: len(tokens) - closed])
    likeliest = likeliest_tokens(tokenizer, first, prompt.request.first_logprobs)
    return written(prompt.request, sample, text, len(tokens) - closed, finish_reason, likeliest)


def likeliest_tokens(tokenizer: Any, first: Iterable[tuple[int, float]] | None, n: int) -> FirstLogprobs | None:
    """Completion.first_logprobs from token ids and their log-probabilities; of equally likely ones the lower id."""
    if not n or first is None:
        return None
    likeliest = sorted(first, key=lambda token: (-token[1], token[0]))[:n]
    return tuple((token_text(tokenizer, id_), logprob) for id_, logprob in likeliest)


def written(
    request: Request,
    sample: int,
    text: str,
    n_tokens: int,
    finish_reason: str,
    first_logprobs: FirstLogprobs | None = None,
) -> Completion:
    """A sample from its text, n_tokens long without an end token. Raises UserError as `check_finish` does."""
    check_finish(request, finish_reason)
    ended = finish_reason == "stop"
    text = text if ended else text.rstrip(HALF)
    return Completion(request.id, sample, text, n_tokens + ended, finish_reason, first_logprobs)


def check_finish(request: Request, finish_reason: str | None) -> None:
    """Raise UserError for a finish reason that says neither that a text ended nor that it was cut.

    It is "abort", say, of a server that is stopped.
    """
    if finish_reason not in FINISH_REASONS:
        raise UserError(
            f"the engine gave request {request.id} up: its finish reason is {finish_reason!r}, none of "
            f"{', '.join(FINISH_REASONS)}. Hint: dvc repro goes on from what is finished."
        )


def too_long(request: Request) -> list[Completion]:
    """The samples of a request whose prompt fills the context."""
    return [Completion(request.id, sample, None, 0, "too_long") for sample in range(request.n)]
