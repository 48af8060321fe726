"""A twin of a tokenizer for which no text is a control token: what a person or a model wrote stays plain text.

The twin has the same model, normalizer and pre-tokenizer, so all that these do beside a control token (blanks that are
added or stripped, words that must stand alone) is done by the tokenizer's own code. Only the control tokens go by
other names: private strings that no text can hold, which `mark` puts into the template's words.
"""

import re
import secrets
from collections.abc import Collection, Sequence
from typing import Any

from metareward.errors import UserError


class PlainText:
    """The twin. Control tokens: the special ones, and every added token that the template writes.

    Other added tokens (runs of blanks, HTML tags) are what the tokenizer makes of ordinary text, and stay.
    """

    def __init__(self, tokenizer: Any, written: Collection[str]) -> None:
        """written: texts in which the template's words are found. Raises UserError for a tokenizer in Python."""
        from tokenizers import AddedToken, Tokenizer

        if not getattr(tokenizer, "is_fast", False):
            raise UserError(
                f"the model's tokenizer is a {type(tokenizer).__name__}, which is none of the library `tokenizers`. "
                "Hint: AutoTokenizer.from_pretrained(folder).save_pretrained(folder) where sentencepiece is installed."
            )
        self.backend = tokenizer.backend_tokenizer
        added = tokenizer.added_tokens_decoder
        named = set(tokenizer.all_special_tokens)
        self.controls = {
            token.content: id_
            for id_, token in added.items()
            if token.special or token.content in named or _is_written(token.content, written)
        }
        nonce = secrets.token_hex(8)  # so that no text can hold the names below; no id depends on it
        self._private = {content: f"\U000ffffc{id_}.{nonce}\U000ffffd" for content, id_ in self.controls.items()}
        self._public = {name: self.controls[content] for content, name in self._private.items()}
        self._names = re.compile("|".join(map(re.escape, self._public)) or r"(?!)")
        everything = sorted(added.values(), key=lambda token: len(token.content), reverse=True)
        self._found = re.compile("|".join(_pattern(token) for token in everything) or r"(?!)")

        self._twin = Tokenizer(self.backend.model)
        if self.backend.normalizer is not None:
            self._twin.normalizer = self.backend.normalizer
        if self.backend.pre_tokenizer is not None:
            self._twin.pre_tokenizer = self.backend.pre_tokenizer
        names = {id_: self._private.get(token.content, token.content) for id_, token in added.items()}
        self._twin.add_tokens(
            [
                AddedToken(
                    names[id_],
                    single_word=token.single_word,
                    lstrip=token.lstrip,
                    rstrip=token.rstrip,
                    normalized=token.normalized,
                    special=False,
                )
                for id_, token in added.items()
            ]
        )
        spelt = self.backend.model.id_to_token
        ids = {self._twin.token_to_id(name): id_ for id_, name in names.items()}
        if any(spelt(twin) is not None for twin, id_ in ids.items() if twin != id_):
            raise UserError("the tokenizer's vocabulary has gaps, so that ids of added tokens can't be told apart.")
        # A Unigram model, or merges, can make a control token of its letters: such get negative ids, to be spelt out
        unknown = tokenizer.unk_token_id  # of characters, which is no control token
        reached = {id_: -1 - id_ for id_ in self.controls.values() if id_ != unknown and spelt(id_) is not None}
        self._ids = {**reached, **ids}

    def mark(self, text: str) -> str:
        """Words of the template with private names for the control tokens in them."""
        return self._found.sub(lambda found: self._private.get(found.group(), found.group()), text)

    def first_control(self, marked: str) -> tuple[int, int] | None:
        """Where the first control token of a marked text ends, and its id; null: there is none."""
        found = self._names.search(marked)
        return (found.end(), self._public[found.group()]) if found else None

    def encode(self, marked: Sequence[str]) -> list[list[int]]:
        """The tokenizer's own ids of marked texts, in one call, which shares them out among the cores."""
        encoded = self._twin.encode_batch_fast(list(marked), add_special_tokens=False)
        rows = [[self._ids.get(id_, id_) for id_ in encoding.ids] for encoding in encoded]
        return [row if min(row, default=0) >= 0 else self._without_controls(row) for row in rows]

    def pieces(self, ids: Sequence[int]) -> str:
        """The tokens' names in the vocabulary, in one string: the text in the model's own alphabet."""
        return "".join(self.backend.id_to_token(id_) or "" for id_ in ids)

    def encode_pieces(self, pieces: str) -> list[int]:
        """Ids of text in the model's own alphabet; no blank is added or stripped, no control token is made."""
        ids = [token.id for token in self.backend.model.tokenize(pieces)] if pieces else []
        return self._without_controls([self._ids.get(id_, id_) for id_ in ids])

    def _without_controls(self, ids: Sequence[int]) -> list[int]:
        out: list[int] = []
        for id_ in ids:
            if id_ >= 0:
                out.append(id_)
            else:
                name = self.backend.id_to_token(-1 - id_)
                if len(name) < 2:
                    raise UserError(f"{name!r} is a control token of the tokenizer, and an ordinary character as well.")
                out += self.encode_pieces(name[:1]) + self.encode_pieces(name[1:])
        return out


def _is_written(token: str, written: Collection[str]) -> bool:
    """Whether the template writes an added token. Blanks, single characters and bare words are no control strings."""
    name = token.strip()
    return len(name) > 1 and not name.isalnum() and any(token in text for text in written)


def _pattern(token: Any) -> str:
    return rf"(?<!\w){re.escape(token.content)}(?!\w)" if token.single_word else re.escape(token.content)
