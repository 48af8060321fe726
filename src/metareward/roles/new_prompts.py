"""New prompts in the manner of seed prompts: requests with random shots, and what of the answers is a prompt."""

import math
import random
import re
from collections.abc import Iterator, Sequence

import polars as pl

from metareward.engines.common.interface import Request
from metareward.ids import content_id, content_seed
from metareward.params import GeneratePrompts
from metareward.roles.requests import single_turn_request, why_unfinished
from metareward.roles.thoughts import with_thoughts
from metareward.templates.texts import fill

FEWEST_WORDS = 3  # of a prompt; Self-Instruct's heuristic
_LABEL = re.compile(
    r"[*_#\s]*(?:(?:new |another )?(?:prompt|task|question|instruction|request)\s*\d*\s*[*_]*:|\d+[.):])[*_]*\s+|"
    r"[*_#\s]*(?:prompt|task|question|instruction|request)\s*\d*\s*[*_]*:[*_]*$",
    re.IGNORECASE,
)
_ITEM = re.compile(r"\n+(?=\d+[.)] )")  # of a numbered list
_QUOTES = {'"': '"', "“": "”", "'": "'", "`": "`"}


def new_prompt_requests(
    seeds: Sequence[str], template: str, settings: GeneratePrompts, seed: int, positions: range
) -> Iterator[Request]:
    """One request for each position: the template with shots drawn from the seeds, other ones for each position.

    Yuan et al. 2024, section 3.1, as Self-Instruct: 8 shots; all of them are seed prompts.
    """
    for position in positions:
        draw = random.Random(content_seed(seed, "shots", position))
        shots = draw.sample(seeds, min(settings.shots, len(seeds)))
        text = fill(template, shots="\n".join(f"{number}. {shot}" for number, shot in enumerate(shots, 1)))
        yield single_turn_request(content_id("new prompt", position, text), text, settings, seed)


def next_round(settings: GeneratePrompts, asked: int, kept: int) -> int:
    """How many more requests to make, given how many were made and how many prompts came of them; 0: it is done.

    As many as will do at the rate so far and a tenth more, within `attempts`.
    """
    missing, left = settings.n - kept, settings.n * settings.attempts - asked
    if missing <= 0 or left <= 0:
        return 0
    rate = (kept + 1) / (asked + 1)
    return min(left, math.ceil(missing * 1.1 / rate) if asked else missing)


def read_new_prompts(completions: pl.DataFrame, order: Sequence[str], first: int) -> pl.DataFrame:
    """Rows of `new_prompts`, before any is dropped for its likeness to another.

    order: the ids of the requests; first: the position of the first of them.
    """
    positions = pl.DataFrame({"request_id": order, "position": range(first, first + len(order))})
    rows = with_thoughts(completions).join(positions, on="request_id").sort("position")
    read = [read_new_prompt(*row) for row in rows.select("text", "thought", "finish_reason").iter_rows()]
    found = pl.DataFrame(read, schema={"prompt": pl.String, "dropped": pl.String}, orient="row")
    return pl.concat([rows.drop("sample", "text", "first_logprobs"), found], how="horizontal")


def read_new_prompt(text: str | None, thought: str | None, finish_reason: str) -> tuple[str | None, str | None]:
    """The prompt in an answer, without number, label or quotation marks around it, and why it is dropped, or null.

    A small model goes on with the list of shots, whatever it is asked, and repeats some first. So of a list the last
    whole item is read: the one before it where the last was cut.
    """
    reason, items = why_unfinished(text, thought, finish_reason), _ITEM.split(text or "")
    if reason == "length" and len(items) > 1:
        reason = None
        items.pop()
    if reason:
        return None, reason
    prompt = items[-1].strip()
    if label := _LABEL.match(prompt):
        prompt = prompt[label.end() :]
    if len(prompt) > 1 and _QUOTES.get(prompt[0]) == prompt[-1] and prompt[0] not in prompt[1:-1]:
        prompt = prompt[1:-1].strip()
    if len(prompt.split()) < FEWEST_WORDS:
        return prompt or None, "too_short" if prompt else "empty"
    return prompt, None
