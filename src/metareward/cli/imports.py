"""`metareward import`: files of others' as the pipeline reads them.

What was left out, and why, is said in counts that add up to what was read.
"""

import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metareward.errors import UserError

if TYPE_CHECKING:
    from metareward.inputs.oasst import Ranked

File = Annotated[Path, typer.Argument(metavar="FILE", help="the file to read; .gz will do for JSON")]
Force = Annotated[bool, typer.Option("--force", help="write over a file that is there")]

imports = typer.Typer(no_args_is_help=True, help="Bring prompts and ranked replies into inputs/.")


@imports.command("oasst")
def oasst(
    file: File,
    language: Annotated[str, typer.Option(help="as the file writes it: en, de, pt-BR, or English for en")] = "en",
    out: Annotated[Path, typer.Option(help="the file to write")] = Path("inputs/ranked_replies.jsonl"),
    held_out: Annotated[int, typer.Option(min=0, help="replies to hold out of it, at least; whole prompts")] = 0,
    held_out_to: Annotated[Path, typer.Option(help="the file for those")] = Path("inputs/held_out_replies.jsonl"),
    force: Force = False,
) -> None:
    """Open Assistant's trees or messages (.jsonl, .jsonl.gz): people's ranked replies to first turns.

    For eft.source: ranked. --held-out makes the file that evaluate.judged names, of prompts that are not in the other.
    """
    from metareward.inputs.oasst import read_oasst, split_prompts
    from metareward.tables import write_lines

    files = {out: force, **({held_out_to: force} if held_out else {})}
    _check_free(files)
    found = read_oasst(file, "en" if language.lower() == "english" else language)
    _say_oasst(file, found)
    if not found.prompts:
        raise UserError(f"{file} has no prompt with two ranked replies in the language {language}. (--language)")
    chosen = split_prompts(found, held_out)
    kept = [prompt for prompt in found.prompts if prompt not in chosen]
    write_lines(_ranked_rows(found, kept), out)
    if held_out:
        write_lines(_ranked_rows(found, [prompt for prompt in found.prompts if prompt in chosen]), held_out_to)
    n_out = sum(len(found.prompts[prompt]) for prompt in chosen)
    print(f"{out}: {found.kept - n_out:,} ranked replies to {len(kept):,} prompts")
    if held_out:
        print(f"{held_out_to}: {n_out:,} ranked replies to {len(chosen):,} other prompts")
        _say_next({out: "eft.file (with eft.source: ranked)", held_out_to: "evaluate.judged"})
    else:
        _say_next({out: "eft.file (with eft.source: ranked)"})


@imports.command("prompts")
def prompts(
    file: File,
    out: Annotated[Path, typer.Option(help="the file to write")] = Path("inputs/prompts.jsonl"),
    prompt: Annotated[str | None, typer.Option(metavar="COLUMN", help="the column with the prompts or chats")] = None,
    category: Annotated[str | None, typer.Option(metavar="COLUMN", help="the column with their categories")] = None,
    added: Annotated[
        str | None, typer.Option("--input", metavar="COLUMN", help="a column to put below the prompt: Alpaca's input")
    ] = None,
    max_chars: Annotated[int, typer.Option(min=1, help="leave out prompts that are longer")] = 8000,
    force: Force = False,
) -> None:
    """Prompts of JSON, JSON Lines (.gz, too), CSV or Parquet, or of chats with one user turn, as the prompt pool.

    Columns: those that the options name, else the first of prompt, instruction, question, text, messages,
    conversations.
    """
    from metareward.inputs.prompt_files import read_prompt_file
    from metareward.tables import write_lines

    _check_free({out: force})
    pool = read_prompt_file(file, prompt, category, added, max_chars)
    print(f"{file}: {pool.n_rows:,} rows read, prompts from {pool.column!r}")
    _say_counts("rows", len(pool.prompts), pool.out)
    if not pool.prompts:
        raise UserError(f"{file} has no prompt that could be used. Hint: --prompt COLUMN names another column. (FILE)")
    write_lines(({"prompt": text} | ({"category": kind} if kind else {}) for text, kind in pool.prompts.items()), out)
    print(f"{out}: {len(pool.prompts):,} prompts")
    _say_next({out: "prompts.file"})


def _check_free(files: dict[Path, bool]) -> None:
    for path, force in files.items():
        if path.exists() and not force:
            raise UserError(f"{path} is there already. Hint: --force writes over it, --out names another file")


def _ranked_rows(found: "Ranked", prompts: list[str]) -> Iterator[dict[str, object]]:
    """Rows of inputs/replies.py; the id says where in the export a reply stands."""
    for prompt in prompts:
        for rank, response, id_ in found.prompts[prompt]:
            yield {"prompt": prompt, "response": response, "rank": rank, "message_id": id_}


def _say_oasst(file: Path, found: "Ranked") -> None:
    total = found.n_prompts + found.n_replies + found.n_later
    print(
        f"{file}: {total:,} messages read: {found.n_prompts:,} prompts, {found.n_replies:,} replies to them, "
        f"{found.n_later:,} of later turns (left out)"
    )
    _say_counts("prompts", len(found.prompts), found.prompts_out)
    _say_counts("replies", found.kept, found.replies_out)


def _say_counts(what: str, kept: int, out: Counter[str]) -> None:
    """Kept, and left out by reason, the most frequent first: they add up to what was read."""
    print(f"{what}: {kept:,} kept, {out.total():,} left out")
    for reason, n in sorted(out.items(), key=lambda item: (-item[1], item[0])):
        print(f"  {n:>9,}  {reason}")


def _say_next(files: dict[Path, str]) -> None:
    """The commands that keep the files, and where params name them."""
    names = shlex.join(map(str, files))
    pointers = shlex.join(f"{path}.dvc" for path in files)
    print(f"next: dvc add {names} && git add {pointers}")
    for path, key in files.items():
        print(f"      params.yaml: {key}: {path}")
