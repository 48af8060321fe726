"""Tables larger than memory, part by part."""

from collections.abc import Iterator, Mapping

import polars as pl


def in_parts(tables: Mapping[str, pl.LazyFrame], n_prompts: int = 5000) -> Iterator[dict[str, pl.LazyFrame]]:
    """The tables cut into the same ranges of n_prompts prompts, for tables larger than memory.

    tables: by name, `prompts` among them; each as read by `pl.scan_parquet`. Tables are written sorted by
    prompt_id, so a part reads its own row groups alone. Every function of this module gives, part by part, the
    rows that it gives for the whole.
    """
    ids = tables["prompts"].select("prompt_id").collect()["prompt_id"].sort()
    for start in range(0, len(ids), n_prompts):
        part = ids[start : start + n_prompts]
        within = pl.col("prompt_id").is_between(pl.lit(part[0]), pl.lit(part[-1]))
        yield {name: table.filter(within) for name, table in tables.items()}
