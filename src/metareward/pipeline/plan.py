"""What a run will ask of its engine: requests and tokens of every stage, before anything runs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars as pl

from metareward.inputs.examples import formats_of, read_eft
from metareward.inputs.pool import read_prompts
from metareward.inputs.replies import read_replies
from metareward.params import JudgeEndpoint, Params
from metareward.templates.texts import Templates, load_new_prompt_template

CHARS_PER_TOKEN = 4.4  # of English prose in the vocabularies of SmolLM2 and Llama 3
MARK = "\x00"
CHAT_TOKENS = 31  # around a prompt, by SmolLM2's template: marks of turns and a system prompt; Llama 3's are fewer
CHAT_END = 7  # of them behind it
JUDGMENT_CHARS = 1000.0  # where no examples show how long a judgment is; the paper's limits on them are 1,000 and 1,100


@dataclass(frozen=True)
class Load:
    """What one stage asks for.

    samples: completions over all requests. prefill: prompt tokens, each request's counted once; computed: those of them
    that an engine computes which computes a beginning that prompts share once. decode: tokens written. done: decode
    tokens of the tables that are there already, None where the stage has not run.
    """

    stage: str
    requests: int
    samples: int
    prefill: int
    computed: int
    decode: int
    done: int | None


class Asks(NamedTuple):
    """Requests of one kind: how many, samples of each, and mean tokens: of a prompt, written in a sample, and of the
    prompt's beginning that others had before it."""

    requests: int
    samples: int
    prompt: float
    written: float
    shared: float = 0.0

    @property
    def others(self) -> int:
        """Requests behind the first one."""
        return max(self.requests - 1, 0)


@dataclass(frozen=True)
class Lengths:
    """Expected tokens of what the model writes, and of the prompts that it is given around it."""

    response: float
    judgment: float
    verdict: float


def expected_lengths(params: Params, templates: Templates) -> Lengths:
    """As long as the texts that stand for them: responses as the held-out human replies, judgments and verdicts as the
    examples that teach them, each cut at max_tokens."""
    eft = read_eft(params.eft, templates, formats_of(params))
    replies = read_replies(Path(params.evaluate.judged), "params.yaml: evaluate.judged")
    targets = {kind: eft.filter(pl.col("kind") == kind)["target"] for kind in ("judge", "meta_judge")}
    default = pl.Series(["x" * int(JUDGMENT_CHARS)])
    judgments = targets["judge"] if len(targets["judge"]) else default
    verdicts = targets["meta_judge"] if len(targets["meta_judge"]) else judgments
    return Lengths(
        _written(replies["response"], params.respond.max_tokens),
        _written(judgments, params.judge.max_tokens),
        _written(verdicts, params.meta_judge.max_tokens),
    )


def loads(params: Params, templates: Templates, lengths: Lengths, data: Path) -> Iterator[Load]:
    """The load of each stage that generates, in the order in which they run; data: where the tables lie.

    Battles are as many as there are when every judgment is valid, so meta-judge is an upper bound.
    """
    prompt = mean_tokens(pool_of(params)["prompt"])
    n_prompts, n, m = params.prompts.per_iteration, params.respond.n, params.judge.n
    if params.prompts.generated:
        yield _new_prompts(params, data)
    if params.eft.seed_judges:
        yield _ranked_replies(params, templates, lengths, data)
    for name in params.checkpoints[2:]:
        folder = data / "iterations" / name
        asked = n_prompts if params.iterations[name].train_judge else 0
        asks = Asks(n_prompts, n, prompt, lengths.response)
        yield load_of(f"respond@{name}", [asks], [folder / "responses.parquet"])
        asks = _judgments(templates, lengths, n_prompts, n, m, prompt, lengths.response)
        if params.reward_model is not None:
            asks = Asks(n_prompts * n, 1, prompt + lengths.response, 0.0)  # it reads, and writes nothing
        yield load_of(f"judge@{name}", [asks], [folder / "judgments.parquet"])
        battles = _battles(templates, lengths, asked, m, prompt + lengths.response)
        yield load_of(f"meta-judge@{name}", [battles], [folder / "battles.parquet"])
    yield from _evaluations(params, templates, lengths, data)


def _judgments(
    templates: Templates, lengths: Lengths, prompts: int, replies: int, samples: int, prompt: float, reply: float
) -> Asks:
    """Judgments of some replies to each prompt; prompt, reply: their tokens."""
    text = templates.judge_prompt("", "")
    shared = _beginning(templates.judge_prompt(MARK, "")) + prompt * (1 - 1 / replies)
    return Asks(prompts * replies, samples, len(text) / CHARS_PER_TOKEN + prompt + reply, lengths.judgment, shared)


def _battles(templates: Templates, lengths: Lengths, responses: int, judgments: int, texts: float) -> Asks:
    """Both orders of each pair of a response's judgments; texts: tokens of the response with its prompt."""
    rivals, text = judgments - 1, templates.meta_judge_prompt("", "", "", "")
    each = judgments * rivals
    shared = _beginning(templates.meta_judge_prompt(MARK, "", "", ""))
    if each:
        shared += texts * (1 - 1 / each) + lengths.judgment * (1 - 1 / rivals)
    prompt = len(text) / CHARS_PER_TOKEN + texts + 2 * lengths.judgment
    return Asks(responses * each, 1, prompt, lengths.verdict, shared)


def _beginning(text: str) -> float:
    """Tokens before the first text that differs, those before the prompt included."""
    return len(text.partition(MARK)[0]) / CHARS_PER_TOKEN + CHAT_TOKENS - CHAT_END


def pool_of(params: Params) -> pl.DataFrame:
    """The pool of prompts, or the seed prompts where it is yet to be written."""
    if params.prompts.generated and not Path(params.prompts.file).exists():
        return read_prompts(Path(params.prompts.generate.seeds), "params.yaml: prompts.generate.seeds")
    return read_prompts(Path(params.prompts.file), "params.yaml: prompts.file")


def _new_prompts(params: Params, data: Path) -> Load:
    """The requests for new prompts, were none of them dropped; each shows as many seed prompts as params say."""
    settings = params.prompts.generate
    seeds = read_prompts(Path(settings.seeds), "params.yaml: prompts.generate.seeds")["prompt"]
    asked = len(load_new_prompt_template(settings.template)) / CHARS_PER_TOKEN + settings.shots * mean_tokens(seeds)
    parts = [Asks(settings.n, 1, asked, mean_tokens(seeds, settings.max_tokens))]
    return load_of("generate-prompts", parts, [data / "prompts" / "generated.parquet"])


def _ranked_replies(params: Params, templates: Templates, lengths: Lengths, data: Path) -> Load:
    """The seed's judgments of the ranked human replies."""
    replies = read_replies(Path(params.eft.file), "params.yaml: eft.file")
    judgments = _judgments_of(replies, templates, lengths, params.eft.n)
    return load_of("eft-judge", [judgments], [data / "eft" / "judgments.parquet"])


def _judgments_of(replies: pl.DataFrame, templates: Templates, lengths: Lengths, samples: int) -> Asks:
    """Judgments of ranked replies."""
    prompts = replies["prompt_id"].n_unique()
    prompt, reply = mean_tokens(replies["prompt"]), mean_tokens(replies["response"])
    return _judgments(templates, lengths, prompts, replies.height // prompts, samples, prompt, reply)


def _evaluations(params: Params, templates: Templates, lengths: Lengths, data: Path) -> Iterator[Load]:
    """For each checkpoint its responses, judgments of ranked replies and verdicts; then the referee's comparisons, and
    the ranked replies that it reads to say how likely they are."""
    settings = params.evaluate
    prompts = read_prompts(Path(settings.prompts), "params.yaml: evaluate.prompts").slice(0, settings.n_prompts)
    replies = read_replies(Path(settings.judged), "params.yaml: evaluate.judged", settings.n_judged_prompts)
    n, m, replied = prompts.height, settings.n_judgments, replies["prompt_id"].n_unique()
    response = min(lengths.response, settings.max_tokens)
    prompt, texts = mean_tokens(prompts["prompt"]), mean_tokens(replies["prompt"]) + mean_tokens(replies["response"])
    parts = [
        Asks(n, 1, prompt, response),
        _judgments_of(replies, templates, lengths, m),
        _battles(templates, lengths, replied, m, texts),
    ]
    if settings.strong_judge.n_prompts:
        load, given = strong_respond_load(params, templates, lengths, data)
        yield load
        parts.append(given)
    for name in params.checkpoints:
        folder = data / "evaluations" / name
        tables = [folder / f"{table}.parquet" for table in ("responses", "judgments", "verdicts", "strong_judgments")]
        yield load_of(f"evaluate@{name}", parts, tables)
    compare = len(templates.compare_prompt("", "", "")) / CHARS_PER_TOKEN + prompt + 2 * response
    shared = _beginning(templates.compare_prompt(MARK, "", "")) + prompt / 2  # both orders are asked
    by_scores = settings.compare == "scores"
    asks = Asks(2 * n, 1, compare, lengths.verdict, shared)
    if by_scores:
        asks = _judgments(templates, lengths, n, 2, m, prompt, response)
        alone = _judgments(templates, lengths, n, 1, m, prompt, response)  # the seed's are the same responses twice
    for name in params.checkpoints[not by_scores :]:
        table = data / "comparisons" / name / f"{'judgments' if by_scores else 'comparisons'}.parquet"
        yield load_of(f"compare@{name}", [alone if name == "seed" else asks], [table])
    for name in params.checkpoints if settings.likelihood else ():
        yield load_of(f"likelihood@{name}", [Asks(replies.height, 1, texts, 0.0)], [])  # it reads, and writes nothing


def strong_respond_load(params: Params, templates: Templates, lengths: Lengths, data: Path) -> tuple[Load, Asks]:
    """The load of the seed's responses for the strong judge, and the judgments of them that each judge writes then.

    The latter as `load_of` takes them; identical responses are judged once, so they are an upper bound.
    """
    strong = params.evaluate.strong_judge
    prompts = read_prompts(Path(params.evaluate.prompts), "params.yaml: evaluate.prompts").slice(0, strong.n_prompts)
    prompt, n = mean_tokens(prompts["prompt"]), strong.n_responses
    parts = [Asks(prompts.height, n, prompt, lengths.response)]
    judgments = _judgments(templates, lengths, prompts.height, n, strong.n_judgments, prompt, lengths.response)
    return load_of("strong-respond", parts, [data / "strong_judge" / "responses.parquet"]), judgments


def judge_cost(n_requests: int, tokens_in: float, tokens_out: float, endpoint: JudgeEndpoint | None) -> float | None:
    """Dollars for a judge's requests; None where no price is known.

    tokens_in, tokens_out: of one request, its prompt's and what is written. endpoint: resources.judges of the judge.
    """
    if endpoint is None or endpoint.dollars_per_million_in is None or endpoint.dollars_per_million_out is None:
        return None
    prices = endpoint.dollars_per_million_in, endpoint.dollars_per_million_out
    return n_requests * (tokens_in * prices[0] + tokens_out * prices[1]) / 1e6


def load_of(stage: str, parts: Iterable[Asks], tables: Iterable[Path]) -> Load:
    """The load of a stage."""
    parts = list(parts)
    return Load(
        stage,
        sum(part.requests for part in parts),
        sum(part.requests * part.samples for part in parts),
        round(sum(part.requests * (part.prompt + CHAT_TOKENS) for part in parts)),
        round(sum(part.requests * (part.prompt + CHAT_TOKENS) - part.others * part.shared for part in parts)),
        round(sum(part.requests * part.samples * part.written for part in parts)),
        decoded(tables),
    )


def decoded(tables: Iterable[Path]) -> int | None:
    """Tokens written of the tables that are there; null where none is."""
    found = [
        pl.scan_parquet(path).select(pl.col("n_tokens").sum()).collect().item() for path in tables if path.exists()
    ]
    return sum(found) if found else None


def _written(texts: pl.Series, most: int) -> float:
    """Mean tokens that a model writes of such texts, the end of its turn among them, each cut at a limit."""
    tokens = (texts.str.len_chars() / CHARS_PER_TOKEN).clip(lower_bound=1) + 1
    return float(tokens.clip(upper_bound=most).mean() or 0.0)  # type: ignore[arg-type]


def mean_tokens(texts: pl.Series, most: int | None = None) -> float:
    """Mean tokens of texts, each cut at a limit."""
    tokens = texts.str.len_chars() / CHARS_PER_TOKEN
    return float((tokens.clip(upper_bound=most) if most else tokens).mean() or 0.0)  # type: ignore[arg-type]
