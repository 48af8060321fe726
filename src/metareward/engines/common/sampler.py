"""What a stage asks a checkpoint: its requests, answered by an engine and kept in a journal."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

import polars as pl
from tqdm import tqdm

from metareward.digests import digest
from metareward.engines.common.interface import Completion, Endpoint, Generator, Request
from metareward.engines.common.journal import COMPLETIONS, Journal, fingerprint, run
from metareward.engines.common.load import deciding_settings, load_engine
from metareward.ids import content_seed
from metareward.params import Engine, Params, Scalar

PACKAGE = Path(__file__).parents[2]
Watch = Callable[[Iterable[Completion]], None]


def _see_nothing(_: Iterable[Completion]) -> None:
    """The watch of a stage that nothing stops."""


class Sampler:
    """A model that writes for one stage, with a journal and a progress bar; it is loaded once, and only if needed.

    params: of these engine, resources and chat_template_kwargs. model: the checkpoint's folder, or an endpoint. work:
    the folder of the stage's journals; the hashes of large models are kept beside it. label: the stage's name in the
    bar. What an endpoint gives was paid for, so each answer goes to disk at once.
    """

    def __init__(self, params: Params, model: Path | Endpoint, work: Path, label: str) -> None:
        self.engine, self.resources = params.engine, params.resources
        self.model, self.work, self.label = model, work, label
        self.chat_template_kwargs = params.chat_template_kwargs
        self._loaded: Generator | None = None

    def __call__(self, requests: Callable[[], Iterable[Request]], watch: Watch = _see_nothing) -> pl.DataFrame:
        """Completions of the requests (journal.COMPLETIONS); a run that was stopped goes on from its journal.

        requests: makes them anew each time it is called, so that half a million of them never lie in memory together.
        watch: is given the completions as they come, and may stop the stage; what was generated stays in the journal.
        """
        total, asked, seed, chars = 0, hashlib.sha256(), 0, 0
        for request in requests():
            total += request.n
            asked.update(_bytes_of(request))
            seed = request.seed
            chars += sum(len(message["content"]) for message in request.messages)
        if not total:
            return pl.DataFrame(schema=COMPLETIONS)
        journal = Journal(
            self.work,
            fingerprint(
                requests=asked.hexdigest(),
                engine=self._text_settings,
                model=self._model_digest,
                code=[digest(path, "*.py") for path in text_code(self.engine.name)],
            ),
            self.resources.wait_hours,
        )

        def complete(done: Collection[str]) -> Iterator[list[Completion]]:
            if self._loaded is None:
                # one stream of draws must not begin anew where a run is resumed
                seed_now = content_seed(seed, len(done))
                self._loaded = load_engine(self.engine, self.resources, self.model, seed_now, self.chat_template_kwargs)
            yield from self._loaded.generate(requests(), done)

        with tqdm(desc=self.label, unit=" samples", total=total) as bar:

            def show(completions: int, tokens: int) -> None:
                if not tokens:
                    bar.reset()  # the journal is ours from here on: waiting for it is no part of the speed
                bar.set_postfix_str(f"{tokens / max(bar.format_dict['elapsed'], 1e-9):.0f} tokens/s", refresh=False)
                bar.update(completions - bar.n)

            at_once = 0 if isinstance(self.model, Endpoint) else None
            served = "a server" if self.engine.name == "openai" else None
            return run(complete, total, journal, show, watch, at_once, chars, served)

    @property
    def _text_settings(self) -> dict[str, object]:
        if isinstance(self.model, Endpoint):
            return {"name": self.engine.name, "asked": "chat"}  # all else is the server's
        return text_settings(self.engine, self.chat_template_kwargs)

    @cached_property
    def _model_digest(self) -> str:
        """Of an endpoint the model's name: its address decides no text."""
        if isinstance(self.model, Endpoint):
            return f"served as {self.model.model}"
        return digest(self.model, memory=self.work.parent / "digests")


def _bytes_of(request: Request) -> bytes:
    """All of a request, the texts as they are: half a million of several kilobytes are hashed before the first answer.

    The lengths before them say where a text ends, so no two requests have the same bytes, nor two lists of them.
    """
    texts = [text for message in request.messages for pair in message.items() for text in pair]
    lengths = [len(message) for message in request.messages], [len(text) for text in texts]
    rest = (request.id, request.n, request.sampling, request.seed, request.first_logprobs, *lengths)
    head = repr(rest)
    return "".join([f"{len(head)} {head}", *texts]).encode(errors="surrogatepass")


def text_code(engine: str) -> list[Path]:
    """The code that decides a text, given its request: the seeds of draws, what all engines share, and the engine.

    One definition for two uses: it is in the fingerprint of each journal, and each generating stage of dvc.yaml depends
    on it (tests/test_dependencies.py). `engines/ray` is not in it: it carries requests to engines in other processes.
    """
    return [PACKAGE / "ids.py", PACKAGE / "engines/common", PACKAGE / "engines" / engine]


def text_settings(engine: Engine, chat_template_kwargs: Mapping[str, Scalar]) -> dict[str, object]:
    """The settings that decide a text: of the chat template and the named engine, "auto" as what it stands for here."""
    own = deciding_settings(engine)
    if engine.name == "transformers" and own["dtype"] == "auto":
        from metareward.engines.common.device import best_dtype

        own["dtype"] = best_dtype()
    chat = dict(chat_template_kwargs)
    return {"name": engine.name, "max_context": engine.max_context, "chat_template_kwargs": chat, **own}
