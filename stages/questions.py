"""Read the questions of the public benchmarks whose files are there; none: an empty table."""

from metareward.inputs.questions import read_questions
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import QUESTIONS, Stage
from metareward.tables import tally, write_table


def questions() -> None:
    params = load()
    table = write_table(read_questions(params.benchmarks), QUESTIONS, "questions")
    say(Stage("questions"), f"{table.height} questions of public benchmarks: {tally(table['benchmark'])}")


if __name__ == "__main__":
    run(questions)
