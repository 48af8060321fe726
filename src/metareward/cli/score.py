"""`metareward score`: what somebody's judge said of a model's answers to a public benchmark, as that counts it.

Standard output has the figures and nothing else; what was left out, and who judged, is said on standard error.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metareward.errors import UserError

if TYPE_CHECKING:
    import polars as pl

    from metareward.evaluation.results import Score
    from metareward.inputs.judged import Tally

File = Annotated[Path, typer.Argument(metavar="FILE", help="the judgments, as upstream writes them; .gz will do")]
Json = Annotated[bool, typer.Option("--json", help="print one object: metric -> {value, low, high, n}")]
Model = Annotated[str | None, typer.Option(help="whose judgments, where the file has several models'")]
Questions = Annotated[Path | None, typer.Option(help="the benchmark's questions, if they are not upstream's")]

score = typer.Typer(
    no_args_is_help=True, help="Score judgments that are there: AlpacaEval 2, Arena-Hard v0.1, MT-Bench."
)


@score.command("alpaca-eval")
def alpaca_eval(
    file: File,
    difficulty: Annotated[Path | None, typer.Option(help="index, instruction_difficulty; none: upstream's")] = None,
    gamed: Annotated[Path | None, typer.Option(help="judgments of the gamed baselines; none: upstream's")] = None,
    c: Annotated[float | None, typer.Option("--c", help="inverse penalty; none: by cross-validation")] = None,
    questions: Questions = None,
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Win rate, length-controlled win rate (per cent) and mean length (characters) from annotations.json."""
    from metareward.evaluation.alpaca_eval import alpaca_eval_scores
    from metareward.inputs.alpaca_eval import read_annotations
    from metareward.inputs.alpaca_eval_instructions import instruction_index
    from metareward.inputs.judged import Tally

    if c is not None and not 0 < c < float("inf"):
        raise UserError(f"c is {c:g}; it must be a number above 0: the inverse of the penalty. (--c)")
    tally = Tally()
    hard, cheated, texts = _length_control(difficulty, gamed, questions)
    found = read_annotations(
        file,
        tally,
        (lambda text: texts.get(text.strip())) if texts else instruction_index,
        range(805) if hard is None else hard["index"],
        model,
    )
    if hard is not None and not found.rows["index"].count():
        _say("length-controlled win rate: left out, since no row is of an instruction of AlpacaEval. Hint: --questions")
    scores = alpaca_eval_scores(found.rows, hard, cheated, c)
    _show("AlpacaEval 2", scores, tally, found.model, found.baseline, found.annotator, as_json)


@score.command("arena-hard")
def arena_hard(
    file: File,
    answers: Annotated[Path | None, typer.Option(help="model_answer file with token_len: adds mean_tokens")] = None,
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Score (per cent) with its bootstrap interval from model_judgment JSON Lines."""
    from metareward.evaluation.arena_hard import arena_hard_scores, read_label
    from metareward.inputs.arena_hard import read_games, read_tokens
    from metareward.inputs.judged import Tally

    tally = Tally()
    found = read_games(file, tally, read_label, model)
    tokens = None if answers is None else read_tokens(answers, tally, found.model)
    scores = arena_hard_scores(found.games, tokens=tokens)
    _show("Arena-Hard v0.1", scores, tally, found.model, found.baseline, found.judge, as_json)


@score.command("mt-bench")
def mt_bench(file: File, questions: Questions = None, model: Model = None, as_json: Json = False) -> None:
    """Mean ratings, of either turn and by category, from gpt-4_single.jsonl."""
    from metareward.evaluation.mt_bench import CATEGORIES, mt_bench_scores, read_rating
    from metareward.inputs.judged import Tally
    from metareward.inputs.mt_bench import read_categories, read_ratings

    tally = Tally()
    categories = CATEGORIES if questions is None else read_categories(questions)
    found = read_ratings(file, tally, read_rating, categories, model)
    _show("MT-Bench", mt_bench_scores(found.ratings), tally, found.model, None, found.judge, as_json)


def _length_control(
    difficulty: Path | None, gamed: Path | None, questions: Path | None
) -> tuple["pl.DataFrame | None", "pl.DataFrame | None", dict[str, int]]:
    """Difficulties, gamed judgments (null: they cannot be had), and the index of each instruction that a file names."""
    from metareward.inputs.alpaca_eval_constants import fetch_gamed, read_difficulty, read_gamed, read_questions

    texts = {} if questions is None else read_questions(questions)
    if difficulty is None or gamed is None:
        try:
            fetched = fetch_gamed()
        except UserError as error:
            _say(f"length-controlled win rate: left out, since {error}. Hint: --difficulty FILE --gamed FILE")
            return None, None, texts
        difficulty, gamed = difficulty or fetched, gamed or fetched
    hard = read_difficulty(difficulty)
    texts = texts or dict(hard.drop_nulls("instruction").select("instruction", "index").iter_rows())
    return hard, read_gamed(gamed, hard), texts


def _show(
    benchmark: str,
    scores: "Sequence[Score]",
    tally: "Tally",
    model: str | None,
    baseline: str | None,
    judge: str | None,
    as_json: bool,
) -> None:
    for line in tally.lines():
        _say(line)
    against = f" against {baseline}" if baseline else ""
    title = f"{benchmark}: {model or 'the model'}{against}, judged by {judge or 'a judge that the file does not name'}"
    if as_json:
        _say(title)
        figures = {s.metric: {"value": s.value, "low": s.low, "high": s.high, "n": s.n} for s in scores}
        print(json.dumps(figures, allow_nan=False))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    print(title)
    table = Table(box=SIMPLE_HEAD, show_edge=False)
    for heading in ("metric", "value", "95% interval", "n"):
        table.add_column(heading, justify="left" if heading == "metric" else "right", no_wrap=True)
    for figure in scores:
        interval = "-" if figure.low is None else f"{figure.low:.2f} to {figure.high:.2f}"
        value = "-" if figure.value is None else f"{figure.value:.2f}"
        table.add_row(figure.metric.replace("_", " "), value, interval, f"{figure.n:,}")
    Console(width=max(80, Console().width)).print(table)


def _say(line: str) -> None:
    print(UserError(line), file=sys.stderr)  # a name or value in it cannot break the line
