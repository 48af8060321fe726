"""Made-up tables of the paper's shape: 5,000 prompts of 7 responses of 11 judgments for each unit of scale.

Texts are slices of one long random text whose words are as frequent as words are, so that they compress about as
text does. Ids, lengths and scores are drawn; every judgment text ends in its score.

    python speed/tables.py FOLDER SCALE VERDICT_CHARS
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from metareward.selection.battles import choose_responses, list_battles
from metareward.selection.parts import in_parts
from metareward.selection.scores import mark_duplicates, score_statistics
from metareward.tables import TABLES, check_table, scan_table, write_parts

N_PROMPTS, N_RESPONSES, N_JUDGMENTS = 5000, 7, 11
PROMPT_CHARS, RESPONSE_CHARS, JUDGMENT_CHARS = 250, 1900, 1000
ROW_GROUP = 50_000  # rows


class Draws:
    """Texts and ids from one seeded generator."""

    def __init__(self, seed: int):
        self.generator = np.random.default_rng(seed)
        letters = np.array(list("etaoinshrdlcumwfgypbvk"))
        vocabulary = ["".join(self.generator.choice(letters, n)) for n in self.generator.integers(1, 12, 30_000)]
        ranks = len(vocabulary) ** self.generator.random(8_000_000) - 1  # Zipf's law: frequency falls as 1 / rank
        self.corpus = " ".join(np.array(vocabulary, dtype=object)[ranks.astype(int)])

    def texts(self, count: int, mean_chars: int, endings: list[str] | None = None) -> list[str]:
        """Slices of about mean_chars characters (normal, a quarter of it the deviation), perhaps with endings."""
        lengths = np.clip(self.generator.normal(mean_chars, mean_chars / 4, count), 20, None).astype(int)
        starts = self.generator.integers(0, len(self.corpus) - 4 * mean_chars, count)
        slices = [self.corpus[start : start + n] for start, n in zip(starts.tolist(), lengths.tolist(), strict=True)]
        return slices if endings is None else [a + b for a, b in zip(slices, endings, strict=True)]

    def ids(self, count: int) -> list[str]:
        return [f"{number:016x}" for number in self.generator.integers(0, 2**63, count).tolist()]


def respond(draws: Draws, prompt_ids: list[str], n_responses: int = N_RESPONSES) -> pl.DataFrame:
    """The `responses` of some prompts; of 700 there is one that is the same text as the prompt's first."""
    n = len(prompt_ids) * n_responses
    written, repeated = pl.col("response"), pl.Series(draws.generator.random(n) < 1 / 700)
    responses = pl.DataFrame(
        {
            "prompt_id": np.repeat(np.array(prompt_ids, dtype=object), n_responses),
            "response_id": draws.ids(n),
            "sample": np.tile(np.arange(n_responses), len(prompt_ids)),
            "response": draws.texts(n, RESPONSE_CHARS),
        }
    ).with_columns(response=pl.when(repeated).then(written.first().over("prompt_id")).otherwise(written))
    return responses.with_columns(
        n_chars=written.str.len_chars().cast(pl.Int64),
        n_tokens=pl.lit(400, pl.Int64),
        finish_reason=pl.lit("stop"),
        duplicate_of=pl.lit(None, pl.String),
        thought=pl.lit(None, pl.String),
    )


def judge(draws: Draws, responses: pl.DataFrame, n_judgments: int = N_JUDGMENTS, mean: float = 3.2) -> pl.DataFrame:
    """The `judgments` of responses, one in 50 without a score.

    Each response has a quality, to which its length adds a little, as judges have it. Its judgments scatter about
    that, in quarters of a point as trained judges write.
    """
    n, chars = responses.height, responses["n_chars"].to_numpy()
    longer = (chars - RESPONSE_CHARS) / (RESPONSE_CHARS / 4)
    quality = (mean + 0.25 * longer + draws.generator.normal(0, 0.85, n)).repeat(n_judgments)
    scores = np.clip(np.round((quality + draws.generator.normal(0, 0.6, len(quality))) * 4) / 4, 0, 5)
    invalid = pl.Series(draws.generator.random(len(scores)) < 0.02)
    judgments = pl.DataFrame(
        {
            "prompt_id": responses["prompt_id"].to_numpy().repeat(n_judgments),
            "response_id": responses["response_id"].to_numpy().repeat(n_judgments),
            "judgment_id": draws.ids(len(scores)),
            "sample": np.tile(np.arange(n_judgments), n),
            "judgment": draws.texts(len(scores), JUDGMENT_CHARS, [f"\nScore: {s:g}" for s in scores.tolist()]),
            "score": scores,
        }
    ).with_columns(
        score=pl.when(~invalid).then("score"),
        invalid_reason=pl.when(invalid).then(pl.lit("no_score")),
        n_chars=pl.col("judgment").str.len_chars().cast(pl.Int64),
        n_tokens=pl.lit(200, pl.Int64),
        finish_reason=pl.lit("stop"),
        thought=pl.lit(None, pl.String),
    )
    return check_table(judgments, "judgments")


def part(draws: Draws, prompt_ids: list[str]) -> dict[str, pl.DataFrame]:
    """prompts, responses, the same with duplicates marked, and judgments of some prompts."""
    prompts = draws.texts(len(prompt_ids), PROMPT_CHARS)
    responses = respond(draws, prompt_ids)
    unique = mark_duplicates(responses)
    return {
        "prompts": pl.DataFrame({"prompt_id": prompt_ids, "prompt": prompts, "source": ["made up"] * len(prompt_ids)}),
        "responses": responses,
        "unique_responses": unique,
        "judgments": judge(draws, unique.filter(pl.col("duplicate_of").is_null())),
    }


def parts(scale: int, seed: int = 1) -> Iterator[dict[str, pl.DataFrame]]:
    """`scale` times the paper's tables, a part for each 5,000 prompts, sorted by prompt over all parts."""
    draws = Draws(seed)
    prompt_ids = sorted(draws.ids(scale * N_PROMPTS))
    for start in range(0, len(prompt_ids), N_PROMPTS):
        yield part(draws, prompt_ids[start : start + N_PROMPTS])


def write_tables(folder: Path, scale: int) -> None:
    """prompts, responses, unique_responses and judgments, each one Parquet file written part by part."""
    folder.mkdir(parents=True)
    writers: dict[str, pq.ParquetWriter] = {}
    for frames in parts(scale):
        for name, frame in frames.items():
            rows = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
            if name not in writers:
                writers[name] = pq.ParquetWriter(folder / f"{name}.parquet", rows.schema, compression="zstd")
            writers[name].write_table(rows, row_group_size=ROW_GROUP)
    for writer in writers.values():
        writer.close()


def write_battles(folder: Path, verdict_chars: int) -> None:
    """choices and battles of the tables in a folder; the first position wins 68 of 100 battles between equals."""
    names = {"prompts": "prompts", "responses": "unique_responses", "judgments": "judgments"}
    tables = {name: scan_table(folder / f"{file}.parquet", name) for name, file in names.items()}
    choices = (
        choose_responses(part["prompts"].collect(), score_statistics(part["responses"], part["judgments"]), 1)
        for part in in_parts(tables)
    )
    write_parts(choices, folder / "choices.parquet", "choices")
    tables["choices"] = scan_table(folder / "choices.parquet", "choices")
    draws = Draws(2)
    battles = (fight(draws, part["choices"], part["judgments"], verdict_chars) for part in in_parts(tables))
    write_parts(battles, folder / "battles.parquet", "battles")


def fight(draws: Draws, choices: pl.LazyFrame, judgments: pl.LazyFrame, verdict_chars: int) -> pl.DataFrame:
    """The battles of some chosen responses, by a strength drawn for each judgment."""
    listed = list_battles(choices, judgments)
    ids = listed["judgment_a"].unique().sort()
    strength = pl.DataFrame({"judgment_id": ids, "strength": draws.generator.normal(0, 1, len(ids))})
    edge = (
        listed.join(strength, left_on="judgment_a", right_on="judgment_id", maintain_order="left")["strength"]
        - listed.join(strength, left_on="judgment_b", right_on="judgment_id", maintain_order="left")["strength"]
    ).to_numpy()
    first_wins = draws.generator.random(len(edge)) < 1 / (1 + np.exp(-edge - 0.75))
    winner = np.where(first_wins, "a", "b")
    battles = listed.with_columns(
        battle_id=pl.Series(draws.ids(len(edge)), dtype=pl.String),
        meta_judgment=pl.Series(
            draws.texts(len(edge), verdict_chars, [f"\nWinner: {w}" for w in winner]), dtype=pl.String
        ),
        winner=pl.when(pl.Series(draws.generator.random(len(edge)) < 0.95)).then(pl.Series(winner)),
        n_tokens=pl.lit(200, pl.Int64),
        finish_reason=pl.lit("stop"),
        thought=pl.lit(None, pl.String),
    ).with_columns(invalid_reason=pl.when(pl.col("winner").is_null()).then(pl.lit("tie")))
    return battles.select(TABLES["battles"].columns.keys())


if __name__ == "__main__":
    write_tables(Path(sys.argv[1]), int(sys.argv[2]))
    write_battles(Path(sys.argv[1]), int(sys.argv[3]))
