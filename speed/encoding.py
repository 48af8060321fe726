"""How fast judge prompts become token ids, and how long an engine's loop waits for them.

    python speed/encoding.py [--prompts 1536] [--step-ms 40]

Run from the root of a clone. The tokenizer has Llama 3's template, pre-tokenizer and 256 special tokens, and a small
vocabulary (tests/chat_models.py). The loop takes 8 prompts a step and then sleeps, as one that waits for a GPU.
"""

import sys
import time
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from metareward.engines.common.batches import encode
from metareward.engines.common.interface import Request, Sampling
from metareward.load_params import load_params
from metareward.templates.texts import load_templates

sys.path.insert(0, "tests")
from chat_models import llama3

PARAMS = load_params(Path("profiles/demo.yaml"))
A_STEP = 8  # prompts


def judge_prompts(n: int) -> list[Request]:
    """Judge prompts of responses of 1,900 characters, the mean of the paper's, each another."""
    templates, sampling = load_templates(PARAMS.templates), Sampling(0.8, 0.95, 1024)
    examples = pl.read_ndjson(PARAMS.eft.file)
    words = " ".join(examples["response"]).split(" ")
    found = []
    for number in range(n):
        start = number * 37 % len(words)
        response = " ".join([*words[start:], *words, *words])[:1900]
        text = templates.judge_prompt(examples["prompt"][number % len(examples)], response)
        found.append(Request(str(number), [{"role": "user", "content": text}], 11, sampling, 1))
    return found


def main(prompts: Annotated[int, typer.Option()] = 1536, step_ms: Annotated[float, typer.Option()] = 40) -> None:
    requests, tokenizer = judge_prompts(prompts), llama3()
    next(encode(tokenizer, requests[:1], 8192))  # what is made once
    begun, cpu = time.monotonic(), time.process_time()
    tokens = sum(len(prompt.tokens) for prompt in encode(tokenizer, requests, 8192))
    seconds, cpu = time.monotonic() - begun, time.process_time() - cpu
    print(f"{tokens / prompts:.0f} tokens a prompt; {prompts / seconds:.0f} prompts a second", end="; ")
    print(f"550,000 prompts: {550_000 * seconds / prompts:.0f} s, {550_000 * cpu / prompts:.0f} s of CPU")
    waited = longest = 0.0
    coming = encode(tokenizer, requests, 8192)
    next(coming)
    for place in range(1, prompts):
        begun = time.monotonic()
        next(coming)
        waited, longest = waited + time.monotonic() - begun, max(longest, time.monotonic() - begun)
        if place % A_STEP == 0:
            time.sleep(step_ms / 1000)
    steps = prompts / A_STEP * step_ms / 1000
    print(
        f"a loop of {steps:.1f} s of steps waited {waited:.2f} s for prompts, {longest * 1000:.0f} ms at most at once"
    )


if __name__ == "__main__":
    typer.run(main)
