"""How well a judge agrees with people, by how it was trained and how it is read.

    python docs/judge_study.py row FOLDER NAME --change sft.max_steps=60 --change sft.learning_rate=1e-4
    python docs/judge_study.py table FOLDER

`row` fine-tunes the seed as the stage sft does, with changes to params.yaml, lets it judge ranked replies, and leaves
what it found in FOLDER/NAME; what is there already is not done again. Run from the root of a clone.
"""

import json
import re
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
import typer

from metareward.engines.common.sampler import Sampler
from metareward.evaluation.held_out import pair_outcomes
from metareward.evaluation.intervals import bootstrap_mean
from metareward.inputs.examples import formats_of, read_eft
from metareward.inputs.replies import read_replies
from metareward.inputs.seed_model import save_seed_model
from metareward.load_params import parse_params, read_yaml
from metareward.params import Params
from metareward.roles.judge import judgment_requests, judgments_table
from metareward.roles.referee import comparison_requests, comparisons_table
from metareward.selection.scores import exact_mean
from metareward.templates.texts import Templates, load_templates

MICRO_BATCH = 16
DIGITS = "012345"
app = typer.Typer(add_completion=False)


@app.command()
def row(
    folder: Path,
    name: str,
    change: Annotated[list[str] | None, typer.Option(help="KEY=VALUE of params.yaml")] = None,
    replies: Annotated[Path, typer.Option(help="ranked replies")] = Path("data/samples/small/dev_judged.jsonl"),
    n: Annotated[int, typer.Option(help="judgments of each reply")] = 8,
    expected: Annotated[int, typer.Option(help="of so many judgments the score's expectation, too")] = 2,
    trained: Annotated[bool, typer.Option(help="--no-trained: the seed itself")] = True,
    referee: Annotated[bool, typer.Option(help="--no-referee: no comparisons")] = True,
) -> None:
    """Train a judge, unless FOLDER/NAME has it, and measure it."""
    params = with_changes(read_yaml(Path("params.yaml")), change or [])
    place, seed = folder / name, folder / "seed"
    place.mkdir(parents=True, exist_ok=True)
    if not seed.exists():
        save_seed_model(params.seed_model, seed)
    texts, model = load_templates(params.templates), place / "model" if trained else seed
    found: dict[str, Any] = {"name": name, "changes": change or [], "replies": replies.name, "trained": trained}
    if trained and not (place / "training.json").exists():
        train(params, texts, seed, place)
    judged = read_replies(replies, "--replies")
    begun = time.time()
    sample = Sampler(params, model, place / "journals", name)
    settings = params.judge.model_copy(update={"n": n})
    completions = sample(lambda: judgment_requests(judged, texts, settings, params.seed, settings.read))
    judgments = judgments_table(judged, completions, params.judge.format)
    found |= {"judging_seconds": round(time.time() - begun), "temperature": params.judge.temperature}
    scores = judgments.select("response_id", "sample", "score").sort("response_id", "sample")
    if settings.read == "first_token":
        means, expected = first_expected(judgments_table(judged, completions, settings.format, settings.read)), 1
    else:
        means = expected_scores(model, judged, judgments.filter(pl.col("sample") < expected), texts)
    asked = rank_pairs(judged) if referee else rank_pairs(judged).clear()
    verdicts = comparisons_table(
        asked, sample(lambda: comparison_requests(asked, texts, params.meta_judge, params.seed)), params.evaluate.format
    )
    found |= {
        "referee": referee_agreement(asked, verdicts) if referee else None,
        "readable": float(scores["score"].is_not_null().mean()),  # type: ignore[arg-type]
        "sampled": {k: agreement(judged, scores, k, n) for k in (1, 2, 4, 8, 16) if k <= n},
        "expected": {k: agreement(judged, means, k, expected) for k in (1, 2, 4) if k <= expected},
        "by_rank": judged.join(scores, on="response_id")
        .group_by("rank")
        .agg(pl.col("score").mean())
        .sort("rank")
        .rows(),
    }
    out = place / f"{replies.stem}-n{n}-t{params.judge.temperature}.json"
    out.write_text(json.dumps(found, indent=1))
    print(out.read_text())


def with_changes(values: dict[str, Any], changes: list[str]) -> Params:
    """Params with some keys changed; a value is read as YAML."""
    from ruamel.yaml import YAML

    for one in changes:
        key, _, value = one.partition("=")
        *sections, last = key.split(".")
        at = values
        for section in sections:
            at = at[section]
        if last not in at:
            raise typer.BadParameter(f"params.yaml has no {key}")
        at[last] = YAML(typ="safe").load(value)
    return parse_params(values)


def train(params: Params, texts: Templates, seed: Path, place: Path) -> None:
    """As the stage sft; what it took is in training.json."""
    from metareward.training.sft import train_sft

    begun = time.time()
    examples = read_eft(params.eft, texts, formats_of(params))
    metrics: dict[str, Any] = dict(
        train_sft(seed, examples, place / "model", params.sft, place / "work", params.seed, 10, params.train)
    )
    metrics["seconds"] = round(time.time() - begun)
    (place / "training.json").write_text(json.dumps(metrics))


def rank_pairs(judged: pl.DataFrame) -> pl.DataFrame:
    """As `pair_responses`: each pair of replies that people rank, the better one as the model's."""
    replies = judged.select("prompt_id", "prompt", "response", "rank")
    pairs = replies.join(replies, on=["prompt_id", "prompt"], suffix="_worse").filter(
        pl.col("rank") < pl.col("rank_worse")
    )
    return pairs.select(
        pl.format("{} {} {}", "prompt_id", "rank", "rank_worse").alias("prompt_id"),
        "prompt",
        group="prompt_id",
        model="response",
        baseline="response_worse",
    )


def referee_agreement(asked: pl.DataFrame, verdicts: pl.DataFrame) -> tuple[float, float, float, int]:
    """Share of pairs that the referee, asked in both orders, decides as people do (ties half), interval, and pairs."""
    winner = pl.col("winner")
    won = pl.when(winner == "model").then(1.0).when(winner == "baseline").then(0.0).otherwise(0.5)
    pairs = verdicts.group_by("prompt_id").agg(outcome=won.mean()).join(asked, on="prompt_id")
    each = pairs.group_by("group").agg(pl.col("outcome").mean()).sort("group")
    low, high = bootstrap_mean(each["outcome"], 10_000, 1)
    return round(float(each["outcome"].mean()), 3), round(low or 0.0, 3), round(high or 1.0, 3), pairs.height  # type: ignore[arg-type]


def agreement(judged: pl.DataFrame, scores: pl.DataFrame, k: int, n: int) -> tuple[float, float, float, int] | None:
    """Share of pairs of replies that mean scores of k judgments order as people do (ties half), interval, and pairs.

    scores: n judgments of each reply, of which k at a time are averaged; the interval is a bootstrap over prompts.
    """
    groups = [
        pair_outcomes(judged, part.group_by("response_id").agg(mean=exact_mean(pl.col("score"))))
        for part in (scores.filter(pl.col("sample") // k == group) for group in range(n // k))
    ]
    each = pl.concat(groups).group_by("prompt_id").agg(pl.col("outcome").mean(), weight=pl.len()).sort("prompt_id")
    if each.is_empty():
        return None  # nothing could be read
    low, high = bootstrap_mean(each["outcome"], 10_000, 1, weights=each["weight"])
    mean = float(np.average(each["outcome"], weights=each["weight"]))
    return round(mean, 3), round(low or 0.0, 3), round(high or 1.0, 3), sum(map(len, groups)) // len(groups)


def first_expected(judgments: pl.DataFrame) -> pl.DataFrame:
    """response_id, sample, score: the expected score of each response's first judgment; all of them have the same."""
    return judgments.filter(pl.col("sample") == 0).select("response_id", "sample", score="expected")


def expected_scores(model: Path, judged: pl.DataFrame, judgments: pl.DataFrame, texts: Templates) -> pl.DataFrame:
    """response_id, sample, score: where a judgment has its score, the mean of the digits 0 to 5 by probability."""
    import torch
    from transformers import AutoModelForCausalLM

    from metareward.engines.common.chat import encode_prompt, encode_target
    from metareward.engines.common.tokenizer import load_tokenizer
    from metareward.roles.requests import single_turn

    tokenizer, network = load_tokenizer(model, {}), AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    rows = judgments.filter(pl.col("score").is_in([float(digit) for digit in DIGITS])).join(
        judged.select("response_id", "prompt", "response"), on="response_id"
    )
    asked = []
    for id_, number, prompt, response, judgment in rows.select(
        "response_id", "sample", "prompt", "response", "judgment"
    ).iter_rows():
        last = re.search(r"\d(?!.*\d)", judgment, re.DOTALL)
        if last is None:
            continue
        ways = [encode_target(tokenizer, judgment[: last.start()] + digit + judgment[last.end() :]) for digit in DIGITS]
        places = [k for k, tokens in enumerate(zip(*ways, strict=False)) if len(set(tokens)) > 1]
        if len(places) != 1 or len({len(way) for way in ways}) > 1:
            continue  # the digit is no token of its own
        beginning = encode_prompt(tokenizer, single_turn(texts.judge_prompt(prompt, response)))
        asked.append((id_, number, beginning + ways[0][: places[0]], [way[places[0]] for way in ways]))
    asked.sort(key=lambda one: len(one[2]))
    found = []
    for start in range(0, len(asked), MICRO_BATCH):
        part = asked[start : start + MICRO_BATCH]
        longest = max(len(ids) for _, _, ids, _ in part)
        ids = torch.zeros(len(part), longest, dtype=torch.long)
        for k, (_, _, tokens, _) in enumerate(part):
            ids[k, : len(tokens)] = torch.tensor(tokens)  # what pads stands after the last one, which does not see it
        with torch.inference_mode():
            hidden = network.model(input_ids=ids).last_hidden_state
            at = torch.tensor([len(tokens) - 1 for _, _, tokens, _ in part])
            logits = network.lm_head(hidden[torch.arange(len(part)), at]).float()
        for (id_, number, _, tokens), line in zip(part, logits, strict=True):
            shares = line[tokens].softmax(dim=0)
            found.append((id_, number, float((shares * torch.arange(6.0)).sum())))
    return pl.DataFrame(found, schema=["response_id", "sample", "score"], orient="row")


@app.command()
def table(folder: Path) -> None:
    """Print a row of Markdown for each measurement in FOLDER."""
    print(
        "| changes | replies | steps | seconds | readable | 1 judgment | 4 | 8 | expected, 1 | expected, 2 | referee |"
    )
    print("|---|---|---:|---:|---:|---|---|---|---|---|---|")
    for path in sorted(folder.glob("*/*-n*-t*.json")):
        found = json.loads(path.read_text())
        training = path.parent / "training.json"
        steps = json.loads(training.read_text()) if found["trained"] else {"steps": 0, "seconds": 0}
        cells = [
            "<br>".join(found["changes"]) or "none",
            f"{found['replies']}, temperature {found['temperature']}",
            f"{steps['steps']:.0f}",
            f"{steps['seconds']}",
            f"{found['readable']:.2f}",
        ]
        for kind, k in (("sampled", "1"), ("sampled", "4"), ("sampled", "8"), ("expected", "1"), ("expected", "2")):
            cells.append(_with_interval(found[kind].get(k)))
        cells.append(_with_interval(found.get("referee")))
        print("| " + " | ".join(cells) + " |")


def _with_interval(value: list[float] | None) -> str:
    return f"{value[0]:.3f} [{value[1]:.3f}, {value[2]:.3f}]" if value else ""


if __name__ == "__main__":
    app()
