"""Write new prompts in the manner of seed prompts, until there are enough; nothing where params name a pool."""

from functools import partial
from pathlib import Path

import polars as pl

from metareward.engines.common.sampler import Sampler
from metareward.inputs.pool import read_prompts
from metareward.params import Params
from metareward.pipeline.frame import load, run, say
from metareward.pipeline.stage import MODELS, PROMPTS, Stage
from metareward.roles.new_prompts import new_prompt_requests, next_round, read_new_prompts
from metareward.selection.new_prompts import select_new_prompts
from metareward.tables import empty_table, tally, write_json, write_lines, write_table
from metareward.templates.texts import load_new_prompt_template


def generate_prompts() -> None:
    params, stage = load(), Stage("generate_prompts")
    rows = new_prompts(params, stage) if params.prompts.generated else empty_table("new_prompts")
    rows = write_table(rows, PROMPTS / "generated.parquet", "new_prompts")
    pool = rows.filter(pl.col("dropped").is_null())
    write_lines(({"prompt": prompt} for prompt in pool["prompt"]), PROMPTS / "generated.jsonl")
    counts = dict(rows["dropped"].drop_nulls().value_counts().sort("dropped").iter_rows())
    write_json({"requests": rows.height, "prompts": pool.height, "dropped": counts}, PROMPTS / "generated.json")
    say(stage, f"{pool.height} new prompts of {rows.height} requests; dropped: {tally(rows['dropped'])}")


def new_prompts(params: Params, stage: Stage) -> pl.DataFrame:
    settings = params.prompts.generate
    seeds = read_prompts(Path(settings.seeds), "params.yaml: prompts.generate.seeds")["prompt"].to_list()
    template = load_new_prompt_template(settings.template)
    sample = Sampler(params, MODELS / settings.checkpoint, stage.work, stage.label)
    parts, rows, asked = [], empty_table("new_prompts"), 0
    while size := next_round(settings, asked, rows["dropped"].null_count()):
        positions = range(asked, asked + size)
        requests = partial(new_prompt_requests, seeds, template, settings, stage.seed(params.seed), positions)
        parts.append(read_new_prompts(sample(requests), [request.id for request in requests()], asked))
        asked += size
        rows = select_new_prompts(pl.concat(parts), seeds, settings.similarity, settings.n)
    return rows


if __name__ == "__main__":
    run(generate_prompts)
