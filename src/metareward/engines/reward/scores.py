"""What a stage asks a reward model: scores of conversations, kept in a journal as generated texts are."""

import hashlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import polars as pl
from tqdm import tqdm

from metareward.digests import digest
from metareward.engines.common.interface import Completion
from metareward.engines.common.journal import COMPLETIONS, Journal, fingerprint, run
from metareward.engines.common.sampler import PACKAGE
from metareward.ids import content_id
from metareward.params import RewardModel

Conversations = Callable[[], Iterator[tuple[str, list[dict[str, str]]]]]


def score_conversations(
    conversations: Conversations, model: Path, settings: RewardModel, wait_hours: float, work: Path, label: str
) -> pl.DataFrame:
    """A completion of each conversation (journal.COMPLETIONS), whose text is its score; see `RewardScorer`.

    conversations: makes them anew each time: an id, and the messages up to the assistant's last. model: a folder. work:
    of the stage's journals. A run that was stopped goes on from its journal; the model is loaded only if needed.
    """
    total, asked, chars = 0, hashlib.blake2b(), 0
    for id_, messages in conversations():
        total += 1
        chars += sum(len(message["content"]) for message in messages)
        asked.update(content_id(id_, messages).encode())
    if not total:
        return pl.DataFrame(schema=COMPLETIONS)
    journal = Journal(
        work,
        fingerprint(
            conversations=asked.hexdigest(),
            settings=_score_settings(settings),
            model=digest(model, memory=work.parent / "digests"),
            code=[digest(path, "*.py") for path in score_code()],
        ),
        wait_hours,
    )

    def complete(done: Collection[str]) -> Iterator[list[Completion]]:
        from metareward.engines.reward.model import RewardScorer

        yield from RewardScorer(model, settings).generate(conversations(), done)

    with tqdm(desc=label, unit=" responses", total=total) as bar:

        def show(completions: int, tokens: int) -> None:
            if not tokens:
                bar.reset()
            bar.set_postfix_str(f"{tokens / max(bar.format_dict['elapsed'], 1e-9):.0f} tokens/s", refresh=False)
            bar.update(completions - bar.n)

        return run(complete, total, journal, show, prompt_chars=chars, writes=False)


def score_code() -> list[Path]:
    """The code that decides a score, given its conversation; in the fingerprint of each journal."""
    return [PACKAGE / "ids.py", *(PACKAGE / "engines" / name for name in ("common", "reward"))]


def _score_settings(settings: RewardModel) -> dict[str, object]:
    """What decides a score, "auto" as what it stands for here; the model is known by its files."""
    own = settings.model_dump(exclude={"model", "revision"})
    if own["dtype"] == "auto":
        from metareward.engines.common.device import best_dtype

        own["dtype"] = best_dtype()
    return own
