"""Tables for a terminal of 80 columns, and the numbers in them."""

from collections.abc import Sequence
from textwrap import wrap

Cell = str | int | float | None
WIDTH = 80


def print_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print rows under headings; a first cell that leaves the others too little room is broken after an underscore."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console(width=max(WIDTH, Console().width))
    cells = [["-" if cell is None else cell if isinstance(cell, str) else number(cell) for cell in row] for row in rows]
    names = [_lines(heading) for heading in headings]
    widths = [max(len(line) for row in [names, *cells] for line in row[k].split("\n")) for k in range(len(names))]
    room = max(console.width - sum(widths[1:]) - len(widths) + 1, 12)
    table = Table(title=title, box=SIMPLE_HEAD, show_edge=False, padding=0)
    for k, name in enumerate(names):
        table.add_column(name, justify="right" if k else "left", no_wrap=True)
    for first, *others in cells:
        table.add_row(_broken(first, room), *others)
    console.print(table, highlight=False)


def number(value: float | None) -> str:
    """As many digits as can be read: 0.583, 177, -12; what rounds to nothing has no sign."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 10 else f"{round(value, 3) + 0.0:.3f}"


def short(value: float, sign: bool = False) -> str:
    """In as little room as possible: .58, 1, -.72, 177; sign: a plus, too."""
    text = f"{round(value, 2) + 0.0:.2f}" if abs(value) < 10 else f"{value:.0f}"
    text = text.removesuffix(".00").replace("0.", ".", 1) if abs(value) < 10 else text
    return f"+{text}" if sign and value > 0 and text != "0" else text


def fixed(value: float, decimals: int | None) -> str:
    """With so many decimals, or as short as can be; what rounds to nothing has no sign."""
    return short(value) if decimals is None else f"{round(value, decimals) + 0.0:.{decimals}f}"


def with_interval(
    value: float | None, low: float | None, high: float | None, sign: bool = False, decimals: int | None = None
) -> str:
    """.58 [.45 .70]; - of nothing, and only the value where it has no interval. sign, decimals: as `short`, `fixed`."""
    if value is None:
        return "-"
    found = short(value, sign) if decimals is None else fixed(value, decimals)
    return found if low is None or high is None else f"{found} [{fixed(low, decimals)} {fixed(high, decimals)}]"


def _lines(heading: str) -> str:
    """A heading in lines of its own, or of at most ten characters."""
    return heading if "\n" in heading else "\n".join(wrap(heading, 10, break_long_words=False))


def _broken(name: str, width: int) -> str:
    """A long name in lines, broken after underscores where it has them."""
    lines = [""]
    for part in name.replace("_", "_\0").split("\0"):
        lines = [*lines[:-1], lines[-1] + part] if len(lines[-1] + part) <= width else [*lines, part]
    return "\n".join(piece for line in lines for piece in (wrap(line, width) or [line]) if piece)
