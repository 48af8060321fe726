"""Pair judgments by Elo, with the length filter; none where the judge is not trained."""

from metareward.generate import judge_messages, judged_responses
from metareward.select import select_judge_pairs
from metareward.tables import read_table, scan_table, tally, write_table

from common import iteration, load, run, say, templates


def judge_pairs(name: str) -> None:
    params = load()
    folder = iteration(name)
    prompts = read_table(folder / "prompts.parquet", "prompts")
    responses = read_table(folder / "unique_responses.parquet", "responses")
    choices = read_table(folder / "choices.parquet", "choices")
    chosen = judged_responses(prompts, responses).join(choices.select("response_id"), on="response_id")
    pairs, no_pairs = select_judge_pairs(
        prompts,
        choices,
        scan_table(folder / "judgments.parquet", "judgments"),
        read_table(folder / "elo.parquet", "elo"),
        judge_messages(chosen, templates(params)),
        params.iterations[name].max_judgment_chars,
    )
    pairs = write_table(pairs, folder / "judge_pairs.parquet", "judge_pairs")
    no_pairs = write_table(no_pairs, folder / "judge_no_pairs.parquet", "no_pairs")
    say(f"{pairs.height} judge pairs; prompts without: {tally(no_pairs['reason'])}")


if __name__ == "__main__":
    run(judge_pairs)
