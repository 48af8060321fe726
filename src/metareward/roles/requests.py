"""What all roles share: requests of one turn or a dialogue, and how a completion ended."""

from collections.abc import Sequence

from metareward.engines.common.interface import Request, Sampling
from metareward.params import SamplingSettings


def single_turn(text: str) -> list[dict[str, str]]:
    """The chat of a single turn."""
    return dialogue([text])


def dialogue(texts: Sequence[str]) -> list[dict[str, str]]:
    """The chat of a dialogue: what the user says, what the assistant answered, what the user says then, ...

    Raises ValueError where the last word is not the user's.
    """
    if len(texts) % 2 == 0:
        raise ValueError(f"a dialogue of {len(texts)} turns ends with the assistant's, so nothing is asked")
    return [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]


def single_turn_request(
    id_: str, text: str, settings: SamplingSettings, seed: int, n: int = 1, first_logprobs: int = 0
) -> Request:
    """A single-turn request with the sampling of a params section."""
    return dialogue_request(id_, [text], settings, seed, n, first_logprobs)


def dialogue_request(
    id_: str, texts: Sequence[str], settings: SamplingSettings, seed: int, n: int = 1, first_logprobs: int = 0
) -> Request:
    """A request for the assistant's next turn of a dialogue, with the sampling of a params section."""
    sampling = Sampling(settings.temperature, settings.top_p, settings.max_tokens)
    return Request(id_, dialogue(texts), n, sampling, seed, first_logprobs)


def why_unfinished(text: str | None, thought: str | None, finish_reason: str) -> str | None:
    """Why a completion cannot be read at all, or null."""
    if text is None and thought is None:
        return "prompt_too_long"
    if finish_reason != "stop":
        return finish_reason
    return "only_thought" if text is None else None
