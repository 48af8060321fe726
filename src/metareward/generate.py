"""The three roles as requests to an engine, and the completions as tables.

Requests come in the order in which neighbours share the longest prefix: all samples of a prompt in one request,
the judgments of one prompt's responses next to each other, battles sorted by response and Judgment A.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cached_property
from pathlib import Path

import polars as pl
from tqdm import tqdm

from metareward import params
from metareward.engines import Completion, Generator, Request, Sampling, load_engine
from metareward.ids import content_id, content_seed
from metareward.journal import COMPLETIONS, Journal, fingerprint, folder_digest, run
from metareward.prompts import Templates, parse_score, parse_winner
from metareward.tables import MESSAGES, TABLES


class Sampler:
    """A checkpoint that writes for one stage, with a journal and a progress bar; it is loaded once, and only if needed.

    engine, resources: what generates, and where. model: the checkpoint's folder. work: the folder of the stage's
    journals. label: the stage's name in the bar.
    """

    def __init__(self, engine: params.Engine, resources: params.Resources, model: Path, work: Path, label: str) -> None:
        self.engine, self.resources, self.model, self.work, self.label = engine, resources, model, work, label
        self._loaded: Generator | None = None

    def __call__(self, requests: Callable[[], Iterable[Request]]) -> pl.DataFrame:
        """Completions of the requests (journal.COMPLETIONS); a run that was stopped goes on from its journal.

        requests: makes them anew each time it is called, so that half a million of them never lie in memory together.
        """
        total, digest, seed = 0, hashlib.blake2b(), 0
        for request in requests():
            total += request.n
            digest.update(content_id(request.id, request.messages, request.n, request.sampling, request.seed).encode())
            seed = request.seed
        if not total:
            return pl.DataFrame(schema=COMPLETIONS)
        journal = Journal(
            self.work,
            fingerprint(
                requests=digest.hexdigest(),
                engine=self.engine.model_dump(),
                model=self._model_digest,
                code=folder_digest(Path(__file__).parent / "engines", "*.py"),
            ),
        )

        def complete(done: Collection[str]) -> Iterator[list[Completion]]:
            if self._loaded is None:
                # one stream of draws must not begin anew where a run is resumed
                self._loaded = load_engine(self.engine, self.resources, self.model, content_seed(seed, len(done)))
            yield from self._loaded.generate(requests(), done)

        with tqdm(desc=self.label, unit=" samples", total=total) as bar:

            def show(completions: int, tokens: int) -> None:
                bar.set_postfix_str(f"{tokens / max(bar.format_dict['elapsed'], 1e-9):.0f} tokens/s", refresh=False)
                bar.update(completions - bar.n)

            return run(complete, total, journal, show)

    @cached_property
    def _model_digest(self) -> str:
        return folder_digest(self.model)


def user_message(text: str) -> list[dict[str, str]]:
    """The chat of a single turn; every request of the pipeline is one."""
    return [{"role": "user", "content": text}]


def response_requests(prompts: pl.DataFrame, settings: params.Samples, seed: int) -> Iterator[Request]:
    """Actor: n responses of each prompt."""
    for prompt_id, prompt in prompts.select("prompt_id", "prompt").iter_rows():
        yield request(prompt_id, prompt, settings, seed, settings.n)


def responses_table(completions: pl.DataFrame) -> pl.DataFrame:
    """The `responses` table of completions whose request ids are prompt ids."""
    rows = completions.rename({"request_id": "prompt_id", "text": "response"}).with_columns(
        _ids("response", "prompt_id", "sample", "response").alias("response_id"),
        n_chars=pl.col("response").str.len_chars().cast(pl.Int64).fill_null(0),
        duplicate_of=pl.lit(None, pl.String),
    )
    return rows.select(list(TABLES["responses"].columns))


def judged_responses(prompts: pl.DataFrame, responses: pl.DataFrame) -> pl.DataFrame:
    """The responses that a judge is asked about, with their prompt: no duplicates, none that was never written."""
    wanted = responses.filter(pl.col("duplicate_of").is_null() & pl.col("response").is_not_null())
    return wanted.join(prompts.select("prompt_id", "prompt"), on="prompt_id").sort("prompt_id", "sample")


def judgment_requests(
    judged: pl.DataFrame, templates: Templates, settings: params.Samples, seed: int
) -> Iterator[Request]:
    """Judge: n judgments of each row of `judged_responses`."""
    for response_id, prompt, response in judged.select("response_id", "prompt", "response").iter_rows():
        yield request(response_id, templates.judge_prompt(prompt, response), settings, seed, settings.n)


def judge_messages(judged: pl.DataFrame, templates: Templates) -> pl.DataFrame:
    """prompt_id and messages: the full judge prompt of each response, as its judge pair is trained on."""
    rows = [
        {"prompt_id": prompt_id, "messages": user_message(templates.judge_prompt(prompt, response))}
        for prompt_id, prompt, response in judged.select("prompt_id", "prompt", "response").iter_rows()
    ]
    return pl.DataFrame(rows, schema={"prompt_id": pl.String, "messages": MESSAGES})


def judgments_table(judged: pl.DataFrame, completions: pl.DataFrame) -> pl.DataFrame:
    """The `judgments` table: each completion with its score, or the reason why it has none.

    Beside the parser's reasons: length (cut before its end, so that a score in it need not be the last) and
    prompt_too_long (never asked).
    """
    rows = completions.rename({"request_id": "response_id", "text": "judgment"}).join(
        judged.select("prompt_id", "response_id", "response"), on="response_id"
    )
    scores = []
    for text, finish_reason, response in rows.select("judgment", "finish_reason", "response").iter_rows():
        reason = _unfinished(text, finish_reason)
        score = None if reason else parse_score(text, response)
        scores.append((score.value, score.invalid_reason) if score else (None, reason))
    read = pl.DataFrame(scores, schema={"score": pl.Float64, "invalid_reason": pl.String}, orient="row")
    rows = pl.concat([rows, read], how="horizontal").with_columns(
        _ids("judgment", "response_id", "sample", "judgment").alias("judgment_id"),
        n_chars=pl.col("judgment").str.len_chars().cast(pl.Int64).fill_null(0),
    )
    return rows.select(list(TABLES["judgments"].columns))


def battle_requests(
    pairs: pl.DataFrame,
    prompts: pl.DataFrame,
    responses: pl.DataFrame,
    judgments: pl.DataFrame,
    templates: Templates,
    settings: params.Sampling,
    seed: int,
) -> Iterator[Request]:
    """Meta-judge: one verdict for each row of `select.list_battles`; the request id is the battle's."""
    chosen = judgments.join(pairs, on="response_id", how="semi")
    text_of = dict(chosen.select("judgment_id", "judgment").iter_rows())
    rows = pairs.join(prompts.select("prompt_id", "prompt"), on="prompt_id").join(
        responses.select("response_id", "response"), on="response_id"
    )
    rows = rows.sort("prompt_id", "response_id", "judgment_a", "judgment_b")
    for a, b, prompt, response in rows.select("judgment_a", "judgment_b", "prompt", "response").iter_rows():
        text = templates.meta_judge_prompt(prompt, response, text_of[a], text_of[b])
        yield request(content_id("battle", a, b), text, settings, seed)


def battles_table(pairs: pl.DataFrame, completions: pl.DataFrame) -> pl.DataFrame:
    """The `battles` table: each ordered pair with its verdict and winner."""
    rows = pairs.with_columns(_ids("battle", "judgment_a", "judgment_b").alias("battle_id")).join(
        with_winners(completions), left_on="battle_id", right_on="request_id"
    )
    return rows.rename({"text": "meta_judgment"}).select(list(TABLES["battles"].columns))


def with_winners(completions: pl.DataFrame) -> pl.DataFrame:
    """Completions with winner ("a", "b" or null) and invalid_reason."""
    winners = []
    for text, finish_reason in completions.select("text", "finish_reason").iter_rows():
        reason = _unfinished(text, finish_reason)
        verdict = None if reason else parse_winner(text)
        winners.append((verdict.winner, verdict.invalid_reason) if verdict else (None, reason))
    read = pl.DataFrame(winners, schema={"winner": pl.String, "invalid_reason": pl.String}, orient="row")
    return pl.concat([completions, read], how="horizontal")


def request(id_: str, text: str, settings: params.Sampling, seed: int, n: int = 1) -> Request:
    """A request of one user turn with the sampling of a params section."""
    sampling = Sampling(settings.temperature, settings.top_p, settings.max_tokens)
    return Request(id_, user_message(text), n, sampling, seed)


def _unfinished(text: str | None, finish_reason: str) -> str | None:
    """Why a completion cannot be read at all, or null."""
    if text is None:
        return "prompt_too_long"
    return "length" if finish_reason == "length" else None


def _ids(kind: str, *columns: str) -> pl.Expr:
    """Content ids of rows; null counts as its own value."""
    return pl.struct(columns).map_elements(
        lambda row: content_id(kind, *(row[name] for name in columns)), return_dtype=pl.String
    )
