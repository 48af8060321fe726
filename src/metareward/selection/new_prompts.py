"""Which new prompts enter the pool: the first so many that are unlike the seed prompts and each other."""

from collections.abc import Sequence

import polars as pl

from metareward.selection.near_duplicates import find_near_duplicates
from metareward.tables import TABLES


def select_new_prompts(rows: pl.DataFrame, seeds: Sequence[str], similarity: float, n: int) -> pl.DataFrame:
    """The table `new_prompts` of what was read, in the order of the requests (roles/new_prompts.py).

    dropped says duplicate (the same text as an earlier or a seed prompt), near_duplicate (ROUGE-L above `similarity`
    to one that is in the pool, or a seed), or not_needed (there are n already).
    """
    rows = rows.sort("position")
    dropped = rows["dropped"].to_list()
    seen, new, places = set(seeds), [], []
    for place, prompt in enumerate(rows["prompt"]):
        if dropped[place] is not None:
            continue
        if prompt in seen:
            dropped[place] = "duplicate"
            continue
        seen.add(prompt)
        new.append(prompt)
        places.append(place)
    texts = [*seeds, *new]
    nearest: list[tuple[str | None, float | None]] = [(None, None)] * len(dropped)
    kept = 0
    for place, found in zip(places, find_near_duplicates(texts, similarity, len(seeds))[len(seeds) :], strict=True):
        if found is not None:
            dropped[place], nearest[place] = "near_duplicate", (texts[found.place], found.similarity)
        elif kept == n:
            dropped[place] = "not_needed"
        else:
            kept += 1
    likeness = pl.DataFrame(nearest, schema={"similar_to": pl.String, "similarity": pl.Float64}, orient="row")
    rows = rows.with_columns(pl.Series("dropped", dropped, pl.String))
    return pl.concat([rows, likeness], how="horizontal").select(list(TABLES["new_prompts"].columns))
