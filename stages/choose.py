"""Choose the response of each prompt whose scores vary most; nothing where the judge is not trained."""

from metareward.select import choose_responses
from metareward.tables import empty_table, read_table, tally, write_table

from common import iteration, load, run, say


def choose(name: str) -> None:
    params = load()
    folder = iteration(name)
    choices = empty_table("choices")
    if params.iterations[name].train_judge:
        choices = choose_responses(
            read_table(folder / "prompts.parquet", "prompts"),
            read_table(folder / "scores.parquet", "scores"),
            params.seed,
        )
    choices = write_table(choices, folder / "choices.parquet", "choices")
    say(f"{choices['response_id'].drop_nulls().len()} responses chosen; prompts without: {tally(choices['reason'])}")


if __name__ == "__main__":
    run(choose)
