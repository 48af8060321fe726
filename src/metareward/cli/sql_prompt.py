"""The prompt of `metareward sql`."""

import atexit
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from metareward.errors import UserError

if TYPE_CHECKING:
    from metareward.query.reading import ReadingConnection

HELP = """A statement ends with ; and may have several lines. Ctrl-C drops what is typed or stops a query.
.schema [VIEW]  the views, or the columns of one
.help           this
.quit           leave (or Ctrl-D)"""


def prompt(connection: "ReadingConnection") -> None:
    """Read statements and print their rows until .quit or Ctrl-D; no error ends it."""
    from metareward.cli.sql import answer

    _remember()
    print("The run's tables in SQL, only to read. Statements end with ;   .help  .schema  .quit", file=sys.stderr)
    text = ""
    while True:
        try:
            line = input("  ...> " if text else "sql> ")
        except KeyboardInterrupt:
            print()
            text = ""
            continue
        except EOFError:
            print()
            return
        try:
            if not text and line.strip().startswith("."):
                if line.strip() in (".quit", ".exit"):
                    return
                _command(connection, line.split())
                continue
            text = f"{text}\n{line}" if text else line
            if not text.strip():
                text = ""
            elif text.rstrip().endswith(";"):
                whole, text = text, ""
                answer(connection, whole)
        except KeyboardInterrupt:
            connection.interrupt()
            print("stopped", file=sys.stderr)
            text = ""
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)


def _command(connection: "ReadingConnection", words: list[str]) -> None:
    from metareward.cli.sql import answer

    if words[0] == ".schema":
        view = '"' + words[1].replace('"', '""') + '"' if len(words) > 1 else ""
        answer(connection, f"SELECT column_name, column_type FROM (DESCRIBE {view})" if view else "SHOW TABLES")
    else:
        print(HELP if words[0] == ".help" else f"{words[0]} is unknown.\n{HELP}")


def _remember() -> None:
    """Keep what is typed for the next time, in .work of the project, which git and DVC leave alone."""
    try:
        import readline
    except ImportError:
        return
    from metareward.pipeline.stage import work_directory

    history = work_directory(Path.cwd()) / "sql_history"
    try:
        history.parent.mkdir(exist_ok=True)
        if history.is_file():
            readline.read_history_file(history)
    except OSError:
        return
    readline.set_history_length(1000)
    owner = os.getpid()

    def save() -> None:
        if os.getpid() == owner:
            readline.write_history_file(history)

    atexit.register(save)
