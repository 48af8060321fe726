"""Thoughts: what a model writes between <think> tags, kept apart from what it says."""

import re

import polars as pl

_TAG = re.compile(r"<(/?)think>")


def with_thoughts(completions: pl.DataFrame) -> pl.DataFrame:
    """Completions with a column thought, and text without it; text is null where there is nothing but a thought.

    So a thought is not judged, trained on, counted in lengths or compared with other texts.
    """
    texts = completions["text"]
    if not texts.str.contains("think>", literal=True).any():  # of most models; it spares half a million Python strings
        return completions.with_columns(thought=pl.lit(None, pl.String))
    split = [split_thought(text) for text in texts]
    read = pl.DataFrame(split, schema={"thought": pl.String, "text": pl.String}, orient="row")
    return completions.with_columns(read)


def split_thought(text: str | None) -> tuple[str | None, str | None]:
    """A text's thought, and what it says beside it; null where there is no such part.

    1. Between <think> and </think> is thought, wherever it stands; so is all after a <think> that nothing closes.
    2. A </think> that nothing opened closes what stands before it: the prompt had opened it.
    3. White space at the edges of both goes. An empty thought is none.

    "<think>a</think>b" -> ("a", "b"); "a</think>b" -> ("a", "b"); "b<think>a" -> ("a", "b"); "<think>a" -> ("a", None)
    """
    if text is None or "think>" not in text:
        return None, text
    thoughts: list[str] = []
    said: list[str] = []
    start, inside = 0, False
    for tag in _TAG.finditer(text):
        (thoughts if inside or tag[1] else said).append(text[start : tag.start()])
        start, inside = tag.end(), not tag[1]
    (thoughts if inside else said).append(text[start:])
    thought = "\n".join(filter(None, (part.strip() for part in thoughts))) or None
    rest = "".join(said).strip() if start else text
    return thought, None if thought and not rest else rest
