"""`metareward plan`: what a run will ask for."""

from datetime import timedelta
from math import inf
from pathlib import Path
from typing import Annotated

import typer

from metareward.cli.hours import show_times

PARAMS = Path("params.yaml")


def plan(
    prefill_rate: Annotated[float | None, typer.Option(help="prompt tokens per second of one GPU or machine")] = None,
    decode_rate: Annotated[float | None, typer.Option(help="tokens written per second by one GPU or machine")] = None,
    load_seconds: Annotated[float, typer.Option(help="from a stage's start to its first token")] = 0.0,
    gpus: Annotated[int, typer.Option(help="how many of them work side by side")] = 1,
    response_tokens: Annotated[float | None, typer.Option(help="expected length; else as the held-out replies")] = None,
    judgment_tokens: Annotated[float | None, typer.Option(help="expected length; else as the examples")] = None,
    hardware: Annotated[str | None, typer.Option(help="time on a100, h100, h200 or l40s; h100x8: on eight")] = None,
    parameters: Annotated[float | None, typer.Option(help="of the model, for --hardware; 8.03e9")] = None,
    verdict_tokens: Annotated[float | None, typer.Option(help="expected length; else as the examples")] = None,
) -> None:
    """What a run will ask for: requests and tokens of each stage, memory of a GPU, disk, and time at a given speed.

    Nothing is loaded or run. Where a stage has run already, what it wrote stands beside.
    """
    from rich.console import Console
    from rich.table import Table

    from metareward.cli.memory import memory_lines
    from metareward.inputs.questions import read_questions
    from metareward.load_params import load_params
    from metareward.pipeline.benchmark_plan import (
        answer_loads,
        gradings,
        local_loads,
        price_lines,
        strong_judge_grading,
    )
    from metareward.pipeline.plan import CHARS_PER_TOKEN, Lengths, expected_lengths
    from metareward.pipeline.plan import loads as loads_of
    from metareward.templates.texts import load_templates

    params = load_params(PARAMS)
    templates = load_templates(params.templates)
    found = expected_lengths(params, templates)
    lengths = Lengths(
        response_tokens or found.response, judgment_tokens or found.judgment, verdict_tokens or found.verdict
    )
    questions = read_questions(params.benchmarks)
    judged = [*strong_judge_grading(params, templates, lengths), *gradings(params, questions)]
    loads = [
        *loads_of(params, templates, lengths, Path("data")),
        *answer_loads(params, questions, Path("data")),
        *local_loads(judged, Path("data")),
    ]
    table = Table(title="Generation")
    for heading in (
        "stage",
        "requests",
        "samples",
        "prompt tokens",
        "computed",
        "tokens written",
        "written so far",
        "h:mm:ss",
    ):
        table.add_column(heading, justify="left" if heading == "stage" else "right")
    total = busy = 0
    for load in loads:
        working = (load.prefill / (prefill_rate or inf) + load.decode / (decode_rate or inf)) / gpus
        seconds = round(working + (load_seconds if load.requests else 0))
        total, busy = total + seconds, busy + seconds * gpus
        counts = (load.requests, load.samples, load.prefill, load.computed, load.decode)
        done = "-" if load.done is None else f"{load.done:,}"
        table.add_row(load.stage, *(f"{count:,}" for count in counts), done, str(timedelta(seconds=seconds)))
    table.add_section()
    sums = [
        sum(getattr(load, name) for load in loads) for name in ("requests", "samples", "prefill", "computed", "decode")
    ]
    so_far = sum(load.done or 0 for load in loads)
    table.add_row("total", *(f"{count:,}" for count in sums), f"{so_far:,}", str(timedelta(seconds=total)))
    Console(width=max(120, Console().width)).print(table)
    print(
        f"expected tokens of a response {lengths.response:.0f}, a judgment {lengths.judgment:.0f}, a verdict "
        f"{lengths.verdict:.0f}; {CHARS_PER_TOKEN} characters to a token; computed: prompt tokens, "
        "what prompts begin with alike once"
    )
    print(f"tables and journals: at most {2 * sums[4] * CHARS_PER_TOKEN / 1e6:,.1f} MB")
    for line in price_lines(judged):
        print(line)
    for line in memory_lines(params, gpus):
        print(line)
    if prefill_rate and decode_rate:
        hours = busy / 3600
        print(f"time: {timedelta(seconds=total)} of generation, {hours:.2f} GPU-hours; training is not counted")
    else:
        print("time: give --prefill-rate and --decode-rate of the hardware")
    show_times(params, templates, lengths, loads, hardware, parameters)
