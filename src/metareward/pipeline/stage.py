"""A stage of the pipeline: its name and what it works on, and from these its folders, journals and seed."""

from dataclasses import dataclass
from pathlib import Path

from metareward.ids import content_seed

MODELS = Path("models")
PROMPTS = Path("data/prompts")
EFT = Path("data/eft")
TRAINING = Path("data/training")
SUMMARIES = Path("data/summaries")
DIGESTS = Path("data/digests")
REPORT = Path("report.html")
QUESTIONS = Path("data/questions.parquet")
CATEGORIES = Path("data/categories.parquet")
DIFFERENCES = Path("data/differences")
STRONG_JUDGE = Path("data/strong_judge")


@dataclass(frozen=True)
class Stage:
    """name: of the stage, as its draws and journals know it; works_on: the iteration or checkpoint, if it has one.

    Both are given by the stage script in so many words, so that renaming a file changes no draw.
    """

    name: str
    works_on: str | None = None

    @property
    def label(self) -> str:
        """respond@m1: what progress lines and journal folders are called."""
        return "@".join(self._names)

    @property
    def work(self) -> Path:
        """The folder of the stage's journals and training states."""
        return work_directory(Path.cwd()) / self.label

    def seed(self, seed: int) -> int:
        """The seed of this stage's draws, made from the run's: another one for each stage and iteration."""
        return content_seed(seed, *self._names)

    @property
    def _names(self) -> list[str]:
        return [self.name] if self.works_on is None else [self.name, self.works_on]


def iteration_folder(name: str) -> Path:
    """The folder of an iteration's tables."""
    return Path("data/iterations") / name


def evaluation_folder(checkpoint: str) -> Path:
    """The folder of what a checkpoint writes on the held-out sets."""
    return Path("data/evaluations") / checkpoint


def comparison_folder(checkpoint: str) -> Path:
    """The folder of what the referee says of a checkpoint's responses."""
    return Path("data/comparisons") / checkpoint


def likelihood_folder(checkpoint: str) -> Path:
    """The folder of how likely a checkpoint finds the ranked replies."""
    return Path("data/likelihoods") / checkpoint


def answers_file(checkpoint: str) -> Path:
    """The table of a checkpoint's answers to the public benchmarks."""
    return Path("data/answers") / f"{checkpoint}.parquet"


def grades_folder(checkpoint: str) -> Path:
    """The folder of what the benchmarks' judges say of a checkpoint's answers."""
    return Path("data/grades") / checkpoint


def work_directory(start: Path) -> Path:
    """`.work` at the root of the main checkout, also from a temporary experiment of DVC's (a copy in .dvc/tmp/exps)."""
    folders = [start.resolve(), *start.resolve().parents]
    for folder in folders:
        if folder.parts[-3:] == (".dvc", "tmp", "exps"):
            return folder.parents[2] / ".work"
    return next((folder for folder in folders if (folder / ".dvc").is_dir()), folders[0]) / ".work"
