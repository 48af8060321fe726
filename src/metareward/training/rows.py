"""From tables to rows of token ids, as training reads them; what is left out is counted."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl

from metareward.engines.common.chat import encode_prompt, encode_target, token_text
from metareward.engines.common.tokenizer import load_tokenizer
from metareward.errors import UserError
from metareward.ids import content_id, content_seed
from metareward.params import Dpo, Scalar

Metrics = dict[str, float]
Row = dict[str, list[int]]
IGNORED = -100  # the label of a token without loss
DIGITS = "012345"  # the scores that a first token can be
ENDED = "stop"  # the finish reason of a text that the model ended itself


def check_first_token(model_path: Path, chat_template_kwargs: Mapping[str, Scalar] | None = None) -> None:
    """Raise UserError where a judgment that begins with its score has another first token: one of a template that
    opens a thought, or a blank before each digit. judge.read first_token would read that one."""
    tokenizer = load_tokenizer(model_path, chat_template_kwargs)
    for digit in DIGITS:
        first = token_text(tokenizer, encode_target(tokenizer, digit)[0])
        if first.strip() != digit:
            raise UserError(
                f"judge.read is first_token, but to {model_path} the first token of the judgment {digit!r} is "
                f"{first!r}. Hint: chat_template_kwargs: {{enable_thinking: false}} for a model that thinks, else "
                "judge.read: text. (params.yaml: judge.read)"
            )


def sft_rows(
    model_path: Path, examples: pl.DataFrame, max_length: int, chat_template_kwargs: Mapping[str, Scalar] | None = None
) -> tuple[list[Row], Metrics]:
    """input_ids and labels of each example that fits; and their counts."""
    tokenizer = load_tokenizer(model_path, chat_template_kwargs)
    limit = _context(model_path, max_length)
    rows: list[Row] = []
    for messages, text in examples.select("messages", "target").iter_rows():
        prompt, target = encode_prompt(tokenizer, messages), encode_target(tokenizer, text)
        if len(prompt) + len(target) <= limit:
            rows.append({"input_ids": prompt + target, "labels": [IGNORED] * len(prompt) + target})
    return rows, {
        "rows_in": examples.height,
        "too_long": examples.height - len(rows),
        "tokens": sum(len(row["input_ids"]) for row in rows),
        "target_tokens": sum(label != IGNORED for row in rows for label in row["labels"]),
    }


def dpo_rows(
    model_path: Path,
    pairs: pl.DataFrame,
    settings: Dpo,
    seed: int,
    chat_template_kwargs: Mapping[str, Scalar] | None = None,
) -> tuple[list[Row], list[Row], Metrics]:
    """prompt_ids, chosen_ids and rejected_ids of the pairs to train on, of the held-out ones, and the counts.

    pairs: as for `train_dpo`. A text that did not end ("stop") was cut: it has no end-of-turn token.
    """
    tokenizer = load_tokenizer(model_path, chat_template_kwargs)
    limit = _context(model_path, settings.max_length)
    rows: dict[str, Row] = {}
    counts = Counter(chosen_cut=0, rejected_cut=0, cut=0, too_long=0, identical=0, actor_pairs=0, judge_pairs=0)
    for pair in pairs.iter_rows(named=True):
        prompt = encode_prompt(tokenizer, pair["messages"])
        ended = {role: pair[f"{role}_finish"] == ENDED for role in ("chosen", "rejected")}
        chosen, rejected = (encode_target(tokenizer, pair[role], ended[role]) for role in ended)
        counts.update({f"{role}_cut": not ended[role] for role in ended})
        if not all(ended.values()) and (settings.cut_texts == "drop" or not chosen or not rejected):
            counts["cut"] += 1
        elif pair["chosen"] == pair["rejected"] or chosen == rejected:
            counts["identical"] += 1
        elif len(prompt) + max(len(chosen), len(rejected)) > limit:
            counts["too_long"] += 1
        else:
            counts[f"{pair['role']}_pairs"] += 1
            rows[pair["pair_id"]] = {"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected}
    if settings.shuffle_labels:
        counts["labels_swapped"] = _swap_labels(rows, seed)
    if len(rows) + counts["identical"] + counts["too_long"] + counts["cut"] != pairs.height:
        raise ValueError("two preference pairs share a pair_id")
    aside = [rows.pop(pair_id) for pair_id in _draw(rows, settings.held_out, seed)]
    trained = list(rows.values())
    return (
        trained,
        aside,
        {
            "rows_in": pairs.height,
            "rows_held_out": len(aside),
            **counts,
            "tokens": sum(len(ids) for row in trained for ids in (*row.values(), row["prompt_ids"])),
            "target_tokens": sum(len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in trained),
        },
    )


def _context(model_path: Path, max_length: int) -> int:
    """The longest row in tokens, prompt and target together."""
    config = json.loads((model_path / "config.json").read_text())
    return min(max_length, int(config.get("max_position_embeddings", max_length)))


def _swap_labels(rows: Mapping[str, Row], seed: int) -> int:
    """Toss a coin for each pair, and swap chosen and rejected text where it says so; how often it did."""
    swapped = [row for pair_id, row in rows.items() if content_seed("label", seed, pair_id) % 2]
    for row in swapped:
        row["chosen_ids"], row["rejected_ids"] = row["rejected_ids"], row["chosen_ids"]
    return len(swapped)


def _draw(pair_ids: Iterable[str], share: float, seed: int) -> list[str]:
    """The held-out pairs: at least one if there is a share, and never all."""
    drawn = sorted(pair_ids, key=lambda pair_id: content_id("held_out", seed, pair_id))
    n = max(round(share * len(drawn)), 1) if share else 0
    return drawn[: max(min(n, len(drawn) - 1), 0)]
