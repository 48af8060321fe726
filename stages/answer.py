"""Let a checkpoint answer the questions of the public benchmarks, second turns behind its own first answers."""

from functools import partial

import polars as pl

from metareward.engines.common.sampler import Sampler
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import MODELS, QUESTIONS, Stage, answers_file
from metareward.roles.answers import answers_table, first_turn_requests, second_turn_requests
from metareward.tables import read_table, tally, write_table


def answer(checkpoint: str) -> None:
    params, stage = load(), Stage("answer", checkpoint)
    questions, settings, seed = read_table(QUESTIONS, "questions"), params.benchmarks, stage.seed(params.seed)
    sample = Sampler(params, MODELS / checkpoint, stage.work, stage.label)
    first = answers_table(questions, sample(partial(first_turn_requests, questions, settings, seed)), 1)
    requests = partial(second_turn_requests, questions, first, settings, seed)
    second = answers_table(questions, sample(requests), 2)
    answers = write_table(pl.concat([first, second]), answers_file(checkpoint), "answers")
    ends = tally(answers["finish_reason"])
    say(stage, f"{answers.height} answers to {questions.height} questions; finished by: {ends}")


if __name__ == "__main__":
    run(answer)
