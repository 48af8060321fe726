"""The prompt of `metareward sql`, typed into as a person does."""

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time


def begin() -> None:
    """So that Ctrl-C reaches it, also where whoever runs the tests is a background job, which ignores it."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_a_prompt_answers_forgives_and_remembers(tmp_path):
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / ".dvc").mkdir()
    master, slave = pty.openpty()
    command = [sys.executable, "-c", "from metareward.cli.main import main; main()", "sql"]
    environment = {**os.environ, "TERM": "dumb"}
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
        start_new_session=True,
        preexec_fn=begin,
    )
    os.close(slave)
    seen = ""

    def wait_for(pattern):
        nonlocal seen
        end = time.monotonic() + 60
        while not (found := re.search(pattern, seen)):
            assert time.monotonic() < end, seen
            if select.select([master], [], [], 1)[0]:
                seen += os.read(master, 65536).decode(errors="replace")
        seen = seen[found.end() :]

    def type_in(text):
        os.write(master, text.encode())

    try:
        wait_for("sql> ")
        type_in("SELECT 40 + 2\n")
        wait_for(r"\.\.\.> ")
        type_in("AS n;\n")
        wait_for(r"\n42\r\n1 row\r\n(.|\n)*sql> ")
        type_in("FROM nothing_here;\n")
        wait_for("error: Catalog Error: (.|\n)*sql> ")
        type_in("COPY prompts TO 'x';\n")
        wait_for("error: COPY is no query(.|\n)*sql> ")
        type_in("SELECT half\n")
        wait_for(r"\.\.\.> ")
        type_in("\x03")
        wait_for("sql> ")
        type_in(".schema pairs\n")
        wait_for("margin +DOUBLE(.|\n)*sql> ")
        type_in(".what\n")
        wait_for(r"\.what is unknown(.|\n)*sql> ")
        type_in("\x04")
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        os.close(master)
    assert "FROM nothing_here;" in (tmp_path / ".work/sql_history").read_text()
