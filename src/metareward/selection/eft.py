"""EFT data from ranked human replies: judgments of the seed that agree with the human order (METHOD §2)."""

import polars as pl

from metareward.ids import content_id
from metareward.inputs.examples import eft_example
from metareward.tables import TABLES
from metareward.templates.texts import Templates


def select_eft(replies: pl.DataFrame, judgments: pl.DataFrame, templates: Templates, seed: int) -> pl.DataFrame:
    """The `eft` rows made of a model's judgments of ranked human replies.

    replies: prompt_id, prompt, response_id, response, rank; judgments: the `judgments` table of them.
    Judgment sample k of all replies of a prompt is one opinion on their order: it is kept when every reply was
    scored and the scores fall strictly as the ranks rise. Then the most frequent score is down-sampled, by the
    seed, to the count of the second most frequent. Yuan et al. 2024, section 3.1; the paper says neither how a
    prompt with several judgments is matched nor how far the score is down-sampled.
    """
    opinions = replies.join(judgments, on="response_id")
    score = pl.col("score")
    by_rank = opinions.group_by("prompt_id", "sample", "rank").agg(
        worst=score.min(), best=score.max(), complete=score.is_not_null().all()
    )
    agreeing = (
        by_rank.sort("prompt_id", "sample", "rank")
        .group_by("prompt_id", "sample", maintain_order=True)
        .agg(
            kept=pl.col("complete").all() & (pl.col("best") < pl.col("worst").shift(1)).all(),
            n_ranks=pl.len(),
        )
        .filter(pl.col("kept") & (pl.col("n_ranks") > 1))
    )
    kept = opinions.join(agreeing, on=["prompt_id", "sample"], how="semi")
    counts = kept["score"].value_counts().sort("count", "score", descending=True)
    if counts.height > 1 and counts["count"][0] > counts["count"][1]:
        draw = pl.col("judgment_id").map_elements(lambda id_: content_id("eft", seed, id_), return_dtype=pl.String)
        common = kept.filter(pl.col("score") == counts["score"][0]).sort(draw)
        rest = kept.filter(pl.col("score") != counts["score"][0])
        kept = pl.concat([rest, common.head(counts["count"][1])])
    rows = [
        eft_example("judge", templates.judge_prompt(prompt, response), judgment, score)
        for prompt, response, judgment, score in kept.select("prompt", "response", "judgment", "score").iter_rows()
    ]
    return pl.DataFrame(rows, schema=dict(TABLES["eft"].columns)).unique("example_id")
