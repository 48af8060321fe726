"""Pair judgments by Elo, with the length filter; none where the judge is not trained."""

from collections.abc import Iterator

import polars as pl

from metareward.generate import judge_messages, judged_responses
from metareward.select import in_parts, select_judge_pairs
from metareward.tables import scan_table

from common import iteration, load, run, templates, write_pairs


def judge_pairs(name: str) -> None:
    params = load()
    folder = iteration(name)
    texts, max_chars = templates(params), params.iterations[name].max_judgment_chars
    files = {"responses": "unique_responses"}
    tables = {
        table: scan_table(folder / f"{files.get(table, table)}.parquet", table)
        for table in ("prompts", "responses", "judgments", "choices", "elo")
    }

    def parts() -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        for part in in_parts(tables):
            responses = part.pop("responses").join(part["choices"], on="response_id", how="semi")
            judged = judged_responses(part["prompts"].collect(), responses.collect())
            yield select_judge_pairs(**part, judge_prompts=judge_messages(judged, texts), max_judgment_chars=max_chars)

    write_pairs(parts(), folder, "judge")


if __name__ == "__main__":
    run(judge_pairs)
