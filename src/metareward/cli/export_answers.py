"""`metareward export-answers`: a checkpoint's answers to the public benchmarks, for upstream's own tools."""

import json
from pathlib import Path
from typing import Annotated

import typer

from metareward.errors import UserError


def export_answers(
    checkpoint: Annotated[str, typer.Argument(help="a checkpoint that has answered: seed, sft, m1, ...")],
    to: Annotated[Path, typer.Option(help="the folder to write to")],
    name: Annotated[str | None, typer.Option(help="the model's name in the files; else the checkpoint's")] = None,
) -> None:
    """Write a checkpoint's answers as upstream's tools read them, so that these can give the official figures.

    alpaca_eval/model_outputs.json, arena-hard-v0.1/model_answer/NAME.jsonl and mt_bench/model_answer/NAME.jsonl, of the
    benchmarks that are on.
    """
    from metareward.pipeline.stage import QUESTIONS, answers_file
    from metareward.roles.exports import alpaca_eval_outputs, arena_hard_answers, mt_bench_answers
    from metareward.tables import read_table, write_text

    path, name = answers_file(checkpoint), name or checkpoint
    if Path(name).name != name:
        raise UserError(f"name is {name!r}; files are called so, and it must not be a path. (--name)")
    if not path.exists():
        raise UserError(f"{path} is not there: {checkpoint} has not answered. Hint: dvc repro answer@{checkpoint}")
    questions, answers = read_table(QUESTIONS, "questions"), read_table(path, "answers")
    if answers.is_empty():
        raise UserError(f"{path} has no answers: no benchmark is on. Hint: metareward check says what is missing.")
    made = path.stat().st_mtime
    outputs = alpaca_eval_outputs(questions, answers, name)
    files = {
        "alpaca_eval/model_outputs.json": (outputs, json.dumps(outputs, indent=2, ensure_ascii=False) + "\n"),
        f"arena-hard-v0.1/model_answer/{name}.jsonl": _lines(arena_hard_answers(questions, answers, name, made)),
        f"mt_bench/model_answer/{name}.jsonl": _lines(mt_bench_answers(questions, answers, name, made)),
    }
    for file, (rows, text) in files.items():
        if rows:
            write_text(text, to / file)
            print(f"{to / file}: {len(rows)} questions")


def _lines(rows: list[dict[str, object]]) -> tuple[list[dict[str, object]], str]:
    return rows, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
