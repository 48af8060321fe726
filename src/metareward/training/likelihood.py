"""How likely a checkpoint is to write a given reply: a measure of what training did that no judge takes part in."""

import math
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import torch
from transformers import AutoModelForCausalLM

from metareward.engines.common.batches import plan_by_length
from metareward.engines.common.chat import encode_prompt, encode_target
from metareward.engines.common.tokenizer import load_tokenizer
from metareward.errors import UserError
from metareward.params import Scalar
from metareward.roles.requests import single_turn
from metareward.tables import TABLES

BATCH_TOKENS = 4096  # of one forward pass, padding included


@torch.inference_mode()
def reply_likelihoods(
    model_path: Path, replies: pl.DataFrame, chat_template_kwargs: Mapping[str, Scalar] | None = None
) -> pl.DataFrame:
    """The `reply_likelihoods` table: log-probability of each reply to its prompt, its end of turn included, in nats.

    replies: as of `read_replies`; one that does not fit the model's context with its prompt is left out. Weights and
    sums are float32. Raises UserError where a logarithm is not finite.
    """
    tokenizer = load_tokenizer(model_path, chat_template_kwargs)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32).to(device).eval()
    limit = int(getattr(model.config.get_text_config(), "max_position_embeddings", 0)) or None
    rows = []
    for prompt_id, response_id, prompt, reply in replies.select(
        "prompt_id", "response_id", "prompt", "response"
    ).iter_rows():
        beginning, target = encode_prompt(tokenizer, single_turn(prompt)), encode_target(tokenizer, reply)
        if limit is None or len(beginning) + len(target) <= limit:
            rows.append((len(beginning) + len(target), response_id, prompt_id, beginning, target))
    rows.sort(key=lambda row: row[:2])
    found = []
    for batch in plan_by_length(rows, BATCH_TOKENS):
        ids = torch.zeros(len(batch), batch[-1][0], dtype=torch.long)
        for number, (length, _, _, beginning, target) in enumerate(batch):
            ids[number, :length] = torch.tensor(beginning + target)  # padding comes after, where no token sees it
        logits = model(input_ids=ids.to(device)).logits
        for number, (length, response_id, prompt_id, beginning, target) in enumerate(batch):
            said = logits[number, len(beginning) - 1 : length - 1].float().log_softmax(dim=-1)
            logprob = said.gather(1, torch.tensor(target, device=device)[:, None]).sum()
            found.append((prompt_id, response_id, float(logprob), len(target)))
    if broken := [response_id for _, response_id, logprob, _ in found if not math.isfinite(logprob)]:
        raise UserError(
            f"{model_path} gives {len(broken)} of {len(found)} replies no finite likelihood: its weights are bad."
        )
    return pl.DataFrame(found, schema=dict(TABLES["reply_likelihoods"].columns), orient="row")
