"""A watch over what a stage generates: it stops a stage most of whose judgments nobody can read."""

from collections import Counter
from collections.abc import Callable, Iterable

from metareward.engines.common.interface import Completion
from metareward.errors import UserError

SHOWN = 3
SHOWN_CHARS = 160  # of the end of a text: that is where a closing line stands


def stop_unreadable(
    reason_of: Callable[[Completion], str | None], after: int | None, label: str, key: str, format_: object
) -> Callable[[Iterable[Completion]], None]:
    """A watch that raises UserError when more than half of the first `after` texts are unreadable; null: never.

    reason_of: why a completion has no score or winner; a tie is readable. Requests that were too long to be asked do
    not count. label: of the stage; key: of params, where format_ stands.
    """
    seen: Counter[str | None] = Counter()
    examples: list[str] = []

    def watch(completions: Iterable[Completion]) -> None:
        if after is None or seen.total() >= after:
            return
        for completion in completions:
            if completion.text is None:
                continue
            reason = reason_of(completion)
            reason = None if reason == "tie" else reason
            seen[reason] += 1
            if reason and len(examples) < SHOWN:
                examples.append(f"{reason}: ...{completion.text[-SHOWN_CHARS:]!r}")
            if seen.total() == after:
                break
        unreadable = seen.total() - seen[None]
        if seen.total() == after and 2 * unreadable > after:
            reasons = ", ".join(f"{reason} {count}" for reason, count in seen.most_common() if reason)
            raise UserError(
                f"{label}: {unreadable} of the first {after} texts cannot be read ({reasons}). Three of them: "
                f"{'; '.join(examples)}. Each must end as {key} says ({_words(format_)}). What was "
                "generated is kept: name the format that the template asks for, or go on with "
                "resources.unreadable_after: null."
            )

    return watch


def _words(format_: object) -> str:
    return format_ if isinstance(format_, str) else f"pattern {getattr(format_, 'pattern', format_)!r}"
