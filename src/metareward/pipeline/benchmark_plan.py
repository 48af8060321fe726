"""What the public benchmarks will ask of the checkpoints and of their judges, before anything runs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from metareward.inputs.questions import NEEDED
from metareward.params import Benchmark, BenchmarkJudge, Params
from metareward.pipeline.plan import (
    CHARS_PER_TOKEN,
    CHAT_TOKENS,
    Asks,
    Lengths,
    Load,
    decoded,
    judge_cost,
    load_of,
    mean_tokens,
    strong_respond_load,
)
from metareward.roles.categories import MAX_TOKENS
from metareward.templates.chats import CATEGORIES, FIELDS, Chat, load_chats
from metareward.templates.texts import Templates

ANSWER_TOKENS = 350.0  # where no baseline's answers show how long an answer is
GRADE_TOKENS = {"alpaca_eval": 8, "arena_hard": 700, "mt_bench": 200}  # our guess; of a judge without log-probabilities
CATEGORY_TOKENS = 5


@dataclass(frozen=True)
class Grading:
    """What one stage asks of a judge: requests, samples, prompt tokens and tokens written in all; dollars, None: not
    known."""

    stage: str
    judge: str
    engine: str
    requests: int
    samples: int
    prefill: int
    decode: int
    dollars: float | None


def answer_loads(params: Params, questions: pl.DataFrame, data: Path) -> Iterator[Load]:
    """The load of each stage `answer`; none where no benchmark is on."""
    if questions.is_empty():
        return
    parts = []
    for name in questions["benchmark"].unique().sort():
        asked, answer = questions.filter(benchmark=name), _answer(params, questions, name)
        first, second = (asked["turns"].list.get(turn, null_on_oob=True).drop_nulls() for turn in (0, 1))
        parts.append(Asks(len(first), 1, mean_tokens(first), answer))
        parts.append(Asks(len(second), 1, mean_tokens(first) + answer + mean_tokens(second), answer))
    for checkpoint in params.checkpoints:
        yield load_of(f"answer@{checkpoint}", parts, [data / "answers" / f"{checkpoint}.parquet"])


def gradings(params: Params, questions: pl.DataFrame) -> Iterator[Grading]:
    """What is asked of the judges: once for the categories, then for each checkpoint; second attempts are not counted.

    Questions of the same benchmark are taken for equally long, and answers for as long as the baseline's.
    """
    alpaca_eval = params.benchmarks.alpaca_eval
    instructions = questions.filter(benchmark="alpaca_eval")["turns"].list.first()
    if alpaca_eval.by_category and len(instructions):
        chat = load_chats(Path(alpaca_eval.categories), CATEGORIES, "params.yaml: benchmarks.alpaca_eval.categories")
        prompt = _length(chat[""]) + mean_tokens(instructions)
        yield _grading(
            "categories", params, alpaca_eval.judge, len(instructions), prompt, min(CATEGORY_TOKENS, MAX_TOKENS)
        )
    for name in NEEDED:
        asked = questions.filter(benchmark=name)
        if asked.is_empty():
            continue
        settings: Benchmark = getattr(params.benchmarks, name)
        chats = load_chats(Path(settings.template), FIELDS[name], f"params.yaml: benchmarks.{name}.template")
        text = sum(map(_length, chats.values())) / len(chats) + mean_tokens(asked["turns"].list.join(""))
        answer, games = _answer(params, questions, name), 2 if name == "arena_hard" else 1
        requests = games * int(asked["turns"].list.len().sum())
        # the baseline's answer beside the model's; of MT-Bench up to two answers, and references of some
        text += answer + (mean_tokens(asked["baseline"]) if name != "mt_bench" else answer)
        written = 1 if name == "alpaca_eval" and settings.judge.logprobs else GRADE_TOKENS[name]
        for checkpoint in params.checkpoints:
            written = min(written, settings.max_grade_tokens)
            yield _grading(f"grade@{checkpoint}", params, settings.judge, requests, text, written)


def strong_judge_grading(params: Params, templates: Templates, lengths: Lengths) -> Iterator[Grading]:
    """What the strong judge is asked, where there is one; a prompt is paid once for all its samples."""
    if params.evaluate.strong_judge.n_prompts:
        _, asks = strong_respond_load(params, templates, lengths, Path())
        judge, n = params.evaluate.strong_judge.judge, asks.samples
        yield _grading("strong-judge", params, judge, asks.requests, asks.prompt, asks.written * n, n)


def local_loads(judged: Iterable[Grading], data: Path) -> Iterator[Load]:
    """The load of each stage that asks judges, of those that this machine runs itself."""
    stages: dict[str, list[Grading]] = {}
    for one in judged:
        if one.engine != "openai":
            stages.setdefault(one.stage, []).append(one)
    for stage, parts in stages.items():
        requests, samples, prefill, decode = (
            sum(getattr(one, key) for one in parts) for key in ("requests", "samples", "prefill", "decode")
        )
        name, _, checkpoint = stage.partition("@")
        table = data / "grades" / checkpoint / "grades.parquet" if checkpoint else data / f"{name}.parquet"
        if name == "strong-judge":
            table = data / "strong_judge" / "judgments.parquet"
        yield Load(stage, requests, samples, prefill, prefill, decode, decoded([table]))


def price_lines(judged: Iterable[Grading]) -> Iterator[str]:
    """A line for each judge: what all checkpoints ask of it, and the price where params know one."""
    judges: dict[tuple[str, str], list[Grading]] = {}
    for one in judged:
        judges.setdefault((one.judge, one.engine), []).append(one)
    for (judge, engine), parts in judges.items():
        requests, prefill, decode = (
            sum(getattr(one, key) for one in parts) for key in ("requests", "prefill", "decode")
        )
        asked = f"judge {judge} ({engine}): {requests:,} requests, {prefill:,} prompt tokens, {decode:,} tokens written"
        dollars = [one.dollars for one in parts if one.dollars is not None]
        if len(dollars) == len(parts):
            yield f"{asked}, ${sum(dollars):,.2f}"
        elif engine == "openai":
            yield f"{asked}; no price in resources.judges"
        else:
            yield asked


def _grading(
    stage: str, params: Params, judge: BenchmarkJudge, requests: int, prompt: float, written: float, n: int = 1
) -> Grading:
    """prompt, written: tokens of one request; n: its samples."""
    prompt += CHAT_TOKENS
    dollars = judge_cost(requests, prompt, written, params.resources.judges.get(judge.model))
    total = (round(requests * prompt), round(requests * written))
    return Grading(stage, judge.model, judge.engine, requests, requests * n, *total, dollars)


def _answer(params: Params, questions: pl.DataFrame, name: str) -> float:
    """Expected tokens of an answer: as the baseline's, cut at max_tokens."""
    most = getattr(params.benchmarks, name).max_tokens
    baseline = questions.filter(benchmark=name)["baseline"].drop_nulls()
    return mean_tokens(baseline, most) if len(baseline) else min(ANSWER_TOKENS, most)


def _length(chat: Chat) -> float:
    return sum(len(text) for _, text in chat) / CHARS_PER_TOKEN
