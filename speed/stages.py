"""What stages cost beside the model: those of an iteration at the paper's scale, with an engine that answers at once.

    python speed/stages.py costs FOLDER                 # all stages of one iteration, and the held-out sets
    python speed/stages.py costs FOLDER --prompts 500   # of a tenth of the prompts
    python speed/stages.py costs FOLDER --only judge    # one of them, in a folder that has the tables before it

The stages are the project's own, each a process from its start to its exit: requests, journal, table. Only the engine
is made up (texts of speed/tables.py, with readable scores and winners), and so is the journal's clock: a stage writes
a part for each prompt, 5,000 as one that lasts three hours does. The last two columns are of the same stage once more,
when all its texts are in the journal.
"""

import random
import runpy
import shutil
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import polars as pl
import typer
from paper_run import prepare, stage
from selection import measure
from tables import Draws

from metareward.engines.common.interface import Completion, Request
from metareward.tables import empty_table, write_table

ROOT = Path(__file__).parents[1]
ITERATION = "m1"  # which trains the judge, so that there are battles
CORPUS_CHARS = 10_000_000
RESPONSE_CHARS, JUDGMENT_CHARS = 2000, 1000
STAGES = {  # arguments after the iteration's name
    "respond": ["sft"],
    "dedup": [],
    "judge": ["sft"],
    "score": [],
    "actor_pairs": [],
    "choose": [],
    "meta_judge": ["sft"],
    "elo": [],
    "judge_pairs": [],
    "monitor_data": ["sft"],
    "evaluate": ["sft"],
}
REQUESTS_PER_PART = {"judge": 7, "meta_judge": 110}
app = typer.Typer(add_completion=False)


class AtOnce:
    """A Generator whose texts are there before they are asked for."""

    def __init__(self, corpus: str) -> None:
        self.corpus, self.draws = corpus, random.Random(1)

    def generate(self, requests: Iterable[Request], done: Collection[str] = ()) -> Iterator[list[Completion]]:
        """All samples of one request in a list, as an engine gives them that works on many requests at a time."""
        for request in requests:
            if request.id not in done:
                yield self._answers(request)

    def _answers(self, request: Request) -> list[Completion]:
        asked = request.messages[0]["content"][-600:]
        quality = int(request.id[:8], 16) / 2**32
        answers = []
        for sample in range(request.n):
            closing = ""
            if "Winner" in asked:
                closing = f"\nWinner: {'A' if self.draws.random() < 0.5 + 0.3 * (quality - 0.4) else 'B'}"
            elif "Score" in asked:
                closing = f"\nScore: {min(5, max(0, round(4 * (1 + 4 * quality + self.draws.gauss(0, 0.6))) / 4)):g}"
            mean = JUDGMENT_CHARS if closing else RESPONSE_CHARS
            n = max(20, int(self.draws.gauss(mean, mean / 4)))
            start = self.draws.randrange(len(self.corpus) - n)
            answers.append(Completion(request.id, sample, self.corpus[start : start + n] + closing, n // 4, "stop"))
        return answers


@app.command(hidden=True)
def child(name: str, arguments: list[str]) -> None:
    """One stage in this process, with the engine above and a clock that moves by requests."""
    from metareward.engines.common import journal, sampler

    requests = REQUESTS_PER_PART.get(name, 1)
    now = 0.0

    def monotonic() -> float:
        nonlocal now
        now += journal.SECONDS_PER_PART / requests
        return now

    journal.time = SimpleNamespace(monotonic=monotonic)
    sampler.load_engine = lambda *_: AtOnce(Path("corpus.txt").read_text())
    sys.argv = [f"{name}.py", *arguments]
    sys.path.insert(0, str(ROOT / "stages"))
    runpy.run_path(str(ROOT / "stages" / f"{name}.py"), run_name="__main__")


@app.command()
def costs(
    folder: Path,
    prompts: Annotated[int, typer.Option(help="of the iteration; 7 responses each", min=1)] = 5000,
    only: Annotated[list[str] | None, typer.Option(help="stages to time again")] = None,
) -> None:
    """Make the prompts of an iteration in a folder, run its stages and print what each cost."""
    if not folder.exists():  # in a process of its own: what starts a stage counts in the stage's peak of memory
        measure(Path.cwd(), [str(Path(__file__).resolve()), "make", str(folder.resolve()), str(prompts)])
    total = 0.0
    print("| stage | rows | parts | seconds | of CPU | peak memory | from its journal, of CPU | peak memory |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, arguments in STAGES.items():
        if only and name not in only:
            continue
        works_on = [ITERATION] if name != "evaluate" else []
        label = folder / ".work" / "@".join([name, *works_on, *([] if works_on else arguments[:1])])
        shutil.rmtree(label, ignore_errors=True)
        costs, again = run(folder, name, [*works_on, *arguments]), ["", ""]
        parts = len(list(label.glob("*/*.parquet")))
        if parts:
            _, cpu, memory = run(folder, name, [*works_on, *arguments])
            again = [f"{cpu:.1f}", f"{memory:.2f} GB"]
        total += costs[1]
        seconds, cpu, memory = costs
        cells = [name, f"{rows(folder, name):,}", f"{parts:,}" if parts else "", f"{seconds:.1f}", f"{cpu:.1f}"]
        print(f"| {' | '.join([*cells, f'{memory:.2f} GB', *again])} |", flush=True)
    print(f"| **together** | | | | {total:.1f} | | | |")


@app.command(hidden=True)
def make(folder: Path, n_prompts: int) -> None:
    """The paper's params, the prompts of an iteration and a checkpoint of nothing but a file."""
    draws = Draws(1)
    folder.mkdir(parents=True)
    prepare(folder, draws, n_prompts)
    (folder / "corpus.txt").write_text(in_lines(draws.corpus[:CORPUS_CHARS]))
    (folder / "models/sft").mkdir(parents=True)
    (folder / "models/sft/model.safetensors").write_bytes(bytes(1000))
    stage(folder, "prompts", ITERATION)
    for table in ("responses", "judgments"):
        write_table(empty_table(table), folder / "data/strong_judge" / f"{table}.parquet", table)


def in_lines(text: str) -> str:
    """Words as sentences of twelve, three of them on a line."""
    words = text.split()
    sentences = [" ".join(words[k : k + 12]) for k in range(0, len(words), 12)]
    return "".join(f"{sentence}.{' ' if k % 3 else chr(10)}" for k, sentence in enumerate(sentences))


def run(folder: Path, name: str, arguments: list[str]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak memory in GB."""
    return measure(folder, [str(Path(__file__).resolve()), "child", name, *arguments])


def rows(folder: Path, name: str) -> int:
    """Of the largest table that a stage has written."""
    written = {"dedup": ["unique_responses"], "respond": ["responses"], "judge": ["judgments"], "score": ["scores"]}
    written |= {"meta_judge": ["battles"], "choose": ["choices"]}
    here = folder / "data/iterations" / ITERATION
    if name == "evaluate":
        here, tables = folder / "data/evaluations/sft", ["judgments"]
    elif name == "monitor_data":
        here, tables = folder / "data/monitors" / ITERATION, ["data"]
    else:
        tables = written.get(name, [name])
    return sum(pl.scan_parquet(here / f"{t}.parquet").select(pl.len()).collect().item() for t in tables)


if __name__ == "__main__":
    app()
