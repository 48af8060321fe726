"""What all roles share: single-turn requests, and how a completion ended."""

from metareward.engines.common.interface import Request, Sampling
from metareward.params import SamplingSettings


def single_turn(text: str) -> list[dict[str, str]]:
    """The chat of a single turn; every request of the pipeline is one."""
    return [{"role": "user", "content": text}]


def single_turn_request(id_: str, text: str, settings: SamplingSettings, seed: int, n: int = 1) -> Request:
    """A single-turn request with the sampling of a params section."""
    sampling = Sampling(settings.temperature, settings.top_p, settings.max_tokens)
    return Request(id_, single_turn(text), n, sampling, seed)


def why_unfinished(text: str | None, thought: str | None, finish_reason: str) -> str | None:
    """Why a completion cannot be read at all, or null."""
    if text is None and thought is None:
        return "prompt_too_long"
    if finish_reason != "stop":
        return finish_reason
    return "only_thought" if text is None else None
