"""A sequence classifier with one output, loaded: conversations in, a score of each out."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import transformers.utils
from numpy.typing import NDArray

from metareward.engines.transformers.extras import no_extras

with no_extras():
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

from metareward.engines.common.batches import ENCODED_AHEAD, plan_by_length
from metareward.engines.common.chat import encode_chats
from metareward.engines.common.chat_check import check_conversations
from metareward.engines.common.device import best_dtype
from metareward.engines.common.interface import Completion
from metareward.errors import UserError
from metareward.params import RewardModel
from metareward.schemas import SCORED

DECIMALS = 6  # scores are averaged as whole millionths (selection/scores.py), so no more of them counts
MOST = 3000.0  # beyond it the square of a score in millionths is no 64-bit number; reward models give some tens
Conversation = tuple[str, Sequence[Mapping[str, str]]]
Tokens = NDArray[np.int32]
Row = tuple[int, str, Tokens]  # the number of tokens, the conversation's id, the tokens


class RewardScorer:
    """A reward model with its own tokenizer and chat template."""

    def __init__(self, folder: Path, settings: RewardModel) -> None:
        """Raises UserError when the folder lacks weights, has not one output, or takes fewer tokens than max_length."""
        transformers.utils.logging.disable_progress_bar()
        self.batch_tokens = settings.batch_tokens
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.tokenizer.chat_template_kwargs = dict(settings.chat_template_kwargs)
        check_conversations(self.tokenizer)
        dtype = getattr(torch, best_dtype() if settings.dtype == "auto" else settings.dtype)
        self.model, loaded = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=dtype, local_files_only=True, output_loading_info=True
        )
        if missing := sorted(loaded["missing_keys"]):  # they were drawn at random, with a warning
            raise UserError(
                f"{folder} lacks the weights {missing[0]}, so its scores would be random. (params.yaml: "
                "reward_model.model)"
            )
        if self.model.config.num_labels != 1:
            raise UserError(
                f"{folder} has {self.model.config.num_labels} outputs; a reward model has one. (params.yaml: "
                "reward_model.model)"
            )
        inside = set(self.model.base_model.modules())  # where a gate of experts has one output, too
        for module in set(self.model.modules()) - inside:
            if isinstance(module, torch.nn.Linear) and module.out_features == 1:  # else a bfloat16 score is rounded
                module.float().register_forward_pre_hook(lambda _, hidden: (hidden[0].float(),))
        self.model.to(self.device).eval()
        self.config = self.model.config.get_text_config()
        self.pad = self.config.pad_token_id
        self.max_length = _max_length(self.config, settings.max_length)

    @torch.inference_mode()
    def generate(self, conversations: Iterable[Conversation], done: Collection[str] = ()) -> Iterator[list[Completion]]:
        """The score of each conversation as the text of a completion, batch by batch, the short ones first.

        done: ids that have one already. Batches are planned over all, so that a resumed run repeats those of an
        undisturbed one. n_tokens: what was read. A conversation of more than max_length tokens has null for a text and
        the finish reason too_long. Raises UserError for a score that is no number, or beyond MOST.
        """
        fitting: list[Row] = []
        for id_, tokens in self._encoded(conversations):
            if len(tokens) <= self.max_length:
                fitting.append((len(tokens), id_, tokens))
            elif id_ not in done:
                yield [Completion(id_, 0, None, 0, "too_long")]
        fitting.sort(key=lambda row: row[:2])
        for batch in plan_by_length(fitting, self.batch_tokens):
            if all(id_ in done for _, id_, _ in batch):
                continue
            scores = self._scores([tokens for _, _, tokens in batch])
            yield [
                Completion(id_, 0, _written(score, id_), length, SCORED)
                for (length, id_, _), score in zip(batch, scores, strict=True)
                if id_ not in done
            ]

    def _encoded(self, conversations: Iterable[Conversation]) -> Iterator[tuple[str, Tokens]]:
        rows = iter(conversations)
        while ahead := list(islice(rows, ENCODED_AHEAD)):
            encoded = encode_chats(self.tokenizer, [messages for _, messages in ahead], add_generation_prompt=False)
            for (id_, _), tokens in zip(ahead, encoded, strict=True):
                yield id_, np.array(tokens, dtype=np.int32)

    def _scores(self, batch: Sequence[Tokens]) -> list[float]:
        """Padded on the right, whatever the tokenizer does: there padding can't be seen, nor moves a position.

        The model finds a conversation's last token as the last one that is no padding. Without a padding token of its
        own it takes the last place of all, so it is given one that stands in no conversation of the batch.
        """
        longest = max(len(tokens) for tokens in batch)
        pad = self.pad
        if pad is None:
            free = np.setdiff1d(np.arange(self.config.vocab_size), np.concatenate(batch))
            if len(batch) > 1 and not len(free):
                return [score for tokens in batch for score in self._scores([tokens])]
            pad = int(free[0]) if len(free) else None
        ids = np.full((len(batch), longest), pad or 0, dtype=np.int64)
        mask = np.zeros((len(batch), longest), dtype=np.int64)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
        self.config.pad_token_id = pad
        output = self.model(
            input_ids=torch.from_numpy(ids).to(self.device), attention_mask=torch.from_numpy(mask).to(self.device)
        )
        scores: list[float] = output.logits[:, 0].float().cpu().tolist()
        return scores


def _written(score: float, id_: str) -> str:
    if not math.isfinite(score) or abs(score) > MOST:
        raise UserError(
            f"the reward model's score of response {id_} is {score}, beyond {MOST:g} or no number at all. Hint: "
            "float32, if it was bfloat16. (params.yaml: reward_model.dtype)"
        )
    return repr(round(score, DECIMALS))


def _max_length(config: object, wanted: int | None) -> int:
    limit: int | None = getattr(config, "max_position_embeddings", None)
    if wanted and limit and wanted > limit:
        raise UserError(
            f"max_length is {wanted}, but the reward model was made for {limit} tokens. (params.yaml: "
            "reward_model.max_length)"
        )
    if not (found := wanted or limit):
        raise UserError(
            "the reward model's config names no context length; set one. (params.yaml: reward_model.max_length)"
        )
    return found
