"""Texts that say nearly what an earlier one says, by ROUGE-L."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_WORD = re.compile(r"\w+")
_SURROGATES = range(0xD800, 0xE000)
_BATCH = 256


@dataclass(frozen=True)
class Nearest:
    """An earlier text, by its place, and how similar it is."""

    place: int
    similarity: float


def find_near_duplicates(texts: Sequence[str], similarity: float, n_known: int = 0) -> list[Nearest | None]:
    """For each text the most similar one before it that is no near duplicate itself, where it is too similar.

    Two texts are near duplicates if their ROUGE-L F1 is above `similarity`: twice the words of their longest common
    subsequence by the words of both; words are runs of letters and digits in any case. The first n_known texts are
    never duplicates. Wang et al. 2023 (Self-Instruct), section 2.2, with 0.7.

    Every pair is compared, by RapidFuzz's bit-parallel scorer on all cores.
    """
    import numpy as np
    from rapidfuzz.distance import Indel
    from rapidfuzz.process import cdist

    words = _as_letters(texts)
    found: list[Nearest | None] = [None] * len(texts)
    kept = list(range(n_known))
    for start in range(n_known, len(texts), _BATCH):
        batch = range(start, min(start + _BATCH, len(texts)))
        earlier = [*kept, *batch]
        scores = cdist(
            [words[place] for place in batch],
            [words[place] for place in earlier],
            scorer=Indel.normalized_similarity,  # of an edit distance without substitution: this F1
            score_cutoff=similarity,
            dtype=np.float64,
            workers=-1,
        )
        alive = np.zeros(len(earlier), dtype=bool)
        alive[: len(kept)] = True
        first = len(kept)
        for row, place in enumerate(batch):
            candidates = np.where(alive, scores[row], 0.0)
            best = int(candidates.argmax())
            if candidates[best] > similarity:
                found[place] = Nearest(earlier[best], float(candidates[best]))
            else:
                alive[first + row] = True
                kept.append(place)
    return found


def _as_letters(texts: Sequence[str]) -> list[str]:
    """Each text with a single character in the place of each word, the same for the same word."""
    letters: dict[str, str] = {}

    def letter(word: str) -> str:
        if word not in letters:
            code = len(letters) + 1
            letters[word] = chr(code if code < _SURROGATES.start else code + len(_SURROGATES))
        return letters[word]

    return ["".join(letter(word) for word in _WORD.findall(text.lower())) for text in texts]
