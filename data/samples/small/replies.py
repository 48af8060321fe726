"""Answers of the demo's own model, to be shown beside judgments so that it does not forget how to answer.

Writes brief/replies.jsonl: to 64 prompts of prompts.jsonl the first answer of four that ends within 64 tokens. More
answers, whose tokens far outnumber those of judgments, leave the judge less to learn from.
Run from the root of a clone:

python data/samples/small/replies.py
"""

import json
import random
import tempfile
from functools import partial
from pathlib import Path

import polars as pl

from metareward.engines.common.sampler import Sampler
from metareward.inputs.lines import read_rows
from metareward.inputs.seed_model import save_seed_model
from metareward.load_params import load_params
from metareward.roles.actor import response_requests, responses_table

FOLDER = Path(__file__).parent
N = 64


def write(out: Path) -> None:
    asked = [row["prompt"] for row in read_rows(FOLDER / "prompts.jsonl", "prompts.jsonl", {"prompt": str})]
    prompts = pl.DataFrame({"prompt_id": [f"{k:03}" for k in range(len(asked))], "prompt": asked})
    params = load_params(Path("profiles/small.yaml"))
    with tempfile.TemporaryDirectory() as work:
        seed = Path(work) / "seed"
        save_seed_model("embedded", seed)
        sample = Sampler(params, seed, Path(work) / "journals", "replies")
        responses = responses_table(sample(partial(response_requests, prompts, params.respond, params.seed)))
    ended = responses.filter(pl.col("finish_reason") == "stop", pl.col("response").str.contains(r"\S"))
    first = ended.sort("prompt_id", "sample").unique("prompt_id", keep="first", maintain_order=True)
    every = first.join(prompts, on="prompt_id", maintain_order="left").select("prompt", "response").to_dicts()
    rows = random.Random(1).sample(every, N)
    out.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


if __name__ == "__main__":
    write(FOLDER / "brief/replies.jsonl")
