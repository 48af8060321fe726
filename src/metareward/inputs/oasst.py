"""Open Assistant's own export, trees or messages, as ranked replies to first turns."""

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metareward.errors import UserError, shown
from metareward.ids import content_id

Message = dict[str, Any]


@dataclass
class Ranked:
    """The ranked replies of an export, and a count of every message in it.

    prompts: prompt -> its replies, the best first, as (rank from 1 on, response, message id); equal ranks stay equal.
    n_prompts, n_replies, n_later: first turns, replies to them, and messages of later turns in the file.
    prompts_out, replies_out: how many of the first two were left out, by reason; with those that were kept they add up.
    """

    prompts: dict[str, list[tuple[int, str, str]]] = field(default_factory=dict)
    n_prompts: int = 0
    n_replies: int = 0
    n_later: int = 0
    prompts_out: Counter[str] = field(default_factory=Counter)
    replies_out: Counter[str] = field(default_factory=Counter)

    @property
    def kept(self) -> int:
        """Replies that were kept."""
        return sum(map(len, self.prompts.values()))


def read_oasst(path: Path, language: str) -> Ranked:
    """The ranked replies to the first turns in one language, of a file of trees or messages (.jsonl, .jsonl.gz).

    language: as the file writes it; "pt" also takes "pt-BR". Left out, each with its reason: prompts and replies that
    were deleted, rejected by review, in another language, without text or written by a model; replies without a rank;
    what is then left of a prompt without two replies of different rank. Open Assistant ranks from 0 on.
    The file is read line by line (messages: twice); what is kept lies in memory.
    Raises UserError for a line that is neither, and for threads, which have no ranks of other replies.
    """
    found = Ranked()
    kind = _kind(path)
    if kind == "trees":
        for place, tree in _objects(path):
            if not isinstance(tree.get("prompt"), dict):
                raise UserError(f"{place} is no tree: it has no prompt. (FILE)")
            _add(found, tree["prompt"], _children(tree["prompt"], place), language)
            found.n_later += sum(_size(reply, place) for reply in _children(tree["prompt"], place))
        return found
    roots, seen = _roots(path, found, language)
    replies: dict[str, list[Message]] = {}
    for _, message in _objects(path):
        parent = message.get("parent_id")
        if parent is None:
            continue
        if parent in roots:
            replies.setdefault(parent, []).append(_slim(message))
        elif parent in seen:
            found.n_replies += 1
            found.replies_out["to a prompt that was left out"] += 1
        else:
            found.n_later += 1
    for id_, root in roots.items():
        _add(found, root, replies.get(id_, []), language)
    return found


def split_prompts(found: Ranked, held_out: int, seed: int = 1) -> set[str]:
    """Prompts to hold out, drawn by a hash of each, until their replies are at least so many; never all of them."""
    chosen: set[str] = set()
    n = 0
    for prompt in sorted(found.prompts, key=lambda prompt: content_id("held out", seed, prompt)):
        if n >= held_out:
            return chosen
        chosen.add(prompt)
        n += len(found.prompts[prompt])
    if held_out and n:
        raise UserError(f"held-out is {held_out}, and there are {n} replies in all; none would be left. (--held-out)")
    return chosen


def _roots(path: Path, found: Ranked, language: str) -> tuple[dict[str, Message], set[str]]:
    """First turns of a file of messages that may be kept, and the ids of the others, which are counted here."""
    roots: dict[str, Message] = {}
    others: set[str] = set()
    for place, message in _objects(path):
        id_ = message.get("message_id")
        if not isinstance(id_, str):
            raise UserError(f"{place} is no message: message_id is {shown(id_)}. (FILE)")
        if message.get("parent_id") is not None:
            continue
        if id_ in roots or id_ in others:
            raise UserError(f"{place} has the message {shown(id_)} a second time. (FILE)")
        if reason := _unfit(message, language, "prompter"):
            found.n_prompts += 1
            found.prompts_out[reason] += 1
            others.add(id_)
        else:
            roots[id_] = _slim(message)
    return roots, others


_FIELDS = ("message_id", "text", "role", "lang", "rank", "deleted", "review_result", "synthetic")


def _slim(message: Message) -> Message:
    """Without labels, emojis and events, which are most of a message."""
    return {name: message[name] for name in _FIELDS if name in message}


def _add(found: Ranked, prompt: Message, replies: list[Message], language: str) -> None:
    """Keep the ranked replies of one prompt, or count why not."""
    found.n_prompts += 1
    found.n_replies += len(replies)
    text = prompt.get("text")
    reason = _unfit(prompt, language, "prompter")
    if not reason and text in found.prompts:
        reason = "the same text as an earlier prompt, whose ranks are others"
    if reason:
        found.prompts_out[reason] += 1
        if replies:
            found.replies_out["to a prompt that was left out"] += len(replies)
        return
    ranked, texts = [], set()
    for reply in sorted(replies, key=lambda reply: rank if (rank := _rank(reply)) is not None else float("inf")):
        reason = _unfit(reply, language, "assistant")
        if not reason and _rank(reply) is None:
            reason = "no rank"
        if not reason and reply["text"] in texts:
            reason = "the same text as a better reply"
        if reason:
            found.replies_out[reason] += 1
        else:
            texts.add(reply["text"])
            ranked.append(reply)
    ranks = sorted({_rank(reply) for reply in ranked})  # type: ignore[type-var]
    if len(ranks) < 2:
        found.prompts_out["fewer than two ranked replies"] += 1
        if ranked:
            found.replies_out["no other ranked reply to the prompt"] += len(ranked)
        return
    place = {rank: number for number, rank in enumerate(ranks, 1)}
    found.prompts[str(text)] = [
        (place[_rank(reply)], reply["text"], str(reply.get("message_id", ""))) for reply in ranked
    ]


def _unfit(message: Message, language: str, role: str) -> str | None:
    """Why a message is not kept whatever its rank; null: it may be."""
    text, lang = message.get("text"), message.get("lang")
    reasons = {
        "deleted": message.get("deleted") is True,
        "rejected by review": message.get("review_result") is False,
        "written by a model": message.get("synthetic") is True,
        f"not the {role}'s": message.get("role") != role,
        "in another language": not (isinstance(lang, str) and f"{lang}-".lower().startswith(f"{language}-".lower())),
        "no text": not isinstance(text, str) or not text.strip() or any("\ud800" <= c <= "\udfff" for c in text),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _rank(reply: Message) -> int | None:
    rank = reply.get("rank")
    return rank if isinstance(rank, int) and not isinstance(rank, bool) else None


def _children(message: Message, place: str) -> list[Message]:
    replies = message.get("replies") or []
    if not isinstance(replies, list) or not all(isinstance(reply, dict) for reply in replies):
        raise UserError(f"{place} is no tree: replies is {shown(replies)}, not a list of messages. (FILE)")
    return replies


def _size(message: Message, place: str) -> int:
    """How many messages lie under one."""
    waiting, n = [message], -1
    while waiting:
        n += 1
        waiting += _children(waiting.pop(), place)
    return n


def _kind(path: Path) -> str:
    """Trees or messages, as the first line says."""
    place, first = next(_objects(path))
    if "prompt" in first or ("message_tree_id" in first and "message_id" not in first):
        return "trees"
    if "message_id" in first:
        return "messages"
    if "thread_id" in first:
        raise UserError(f"{path} holds threads, which have no ranked replies; export trees or messages. (FILE)")
    raise UserError(
        f"{place} is neither a tree (message_tree_id, prompt) nor a message (message_id, text) of Open Assistant's, "
        f"but has {', '.join(map(str, first)) or 'no fields'}. (FILE)"
    )


def _objects(path: Path) -> Iterator[tuple[str, Message]]:
    """The objects of a JSON Lines file, packed by gzip or not, each with its place; one line in memory at a time."""
    opener: Callable[..., Any] = open
    empty = True
    try:
        if path.is_dir():
            raise UserError(f"{path} cannot be read: it is a folder, not a file. (FILE)")
        with path.open("rb") as head:
            if head.read(2) == b"\x1f\x8b":
                opener = gzip.open
        with opener(path, "rt", encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    empty = False
                    yield f"{path}, line {number}", _object(line, f"{path}, line {number}")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is a damaged gzip archive: {error}. (FILE)") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: it has the byte {error.object[error.start]:#04x}. (FILE)") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}. (FILE)") from None
    if empty:
        raise UserError(f"{path} has no rows. (FILE)")


def _object(line: str, place: str) -> Message:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "it is nested too deeply"
        raise UserError(f"{place} is not JSON: {reason}. (FILE)") from None
    if not isinstance(value, dict):
        raise UserError(f"{place} is no JSON object; JSON Lines has one object on each line. (FILE)")
    return value
