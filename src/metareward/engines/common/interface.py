"""The generation seam: requests in, completions out, whichever engine does the work.

An engine is any object with `generate`; each lives in one file of this package, which alone imports its library.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

FirstLogprobs = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Sampling:
    """temperature 0 is greedy; top_p in (0, 1]; max_tokens counts new tokens, the end-of-turn token included."""

    temperature: float
    top_p: float
    max_tokens: int


@dataclass(frozen=True)
class Request:
    """n samples of one chat prompt. The local engine draws sample k with the seed content_seed(seed, id, k).

    first_logprobs: how many of the likeliest first tokens are wanted with their log-probabilities, 0 to 20.
    """

    id: str
    messages: Sequence[Mapping[str, str]]
    n: int
    sampling: Sampling
    seed: int
    first_logprobs: int = 0


@dataclass(frozen=True)
class Completion:
    """One sample of a request.

    finish_reason: "stop" (the model ended its turn, by whichever of its end tokens), "length" (cut at max_tokens or at
    the end of the context), "content_filter" (cut by a server) or "too_long" (the prompt leaves no room for a single
    token: text is null and n_tokens 0). Whatever is not "stop" did not end where its text ends. The end token is
    counted in n_tokens and left out of text; a <think> tag that the prompt has opened is put before it.

    first_logprobs: the likeliest first tokens as (text, natural logarithm of the probability), the likeliest first, of
    the model's own distribution: temperature and top_p change nothing. Several tokens may have the same text. None
    where none were asked for, or the engine gives none.
    """

    request_id: str
    sample: int
    text: str | None
    n_tokens: int
    finish_reason: str
    first_logprobs: FirstLogprobs | None = None


@dataclass(frozen=True)
class Endpoint:
    """A model behind an OpenAI-compatible server that is asked by messages, in the place of a checkpoint's folder.

    key: the name of the environment variable with the server's key; None: OPENAI_API_KEY, if there is one.
    where: whose model it is (benchmarks.arena_hard.judge), as what is said of it names the place in params.yaml.
    """

    model: str
    base_url: str
    key: str | None
    where: str


class Generator(Protocol):
    def generate(self, requests: Iterable[Request], done: Collection[str] = ()) -> Iterator[list[Completion]]:
        """Yield completions as they finish, all n samples of a request in one list; an empty list is a heartbeat.

        requests: all requests of the stage, in the order in which neighbours share prefixes.
        done: ids whose completions are already in the journal; they are not generated again. An engine whose
        output depends on what shares a batch (floating point) plans its batches over all requests, done or not,
        and yields one batch per list, so a resumed run repeats the batches of an undisturbed one.
        """
        ...
