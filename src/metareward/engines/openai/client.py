"""What is common to all that is asked of a server: its key, how often it is asked again, requests in flight."""

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar
from urllib.parse import urlsplit

import openai

from metareward.engines.common.interface import Completion
from metareward.errors import UserError

RETRIES = 60  # the client waits up to 8 s between two, or as long as the server says: a restart of minutes is survived
DEFAULT_KEY = "OPENAI_API_KEY"
Prompt = TypeVar("Prompt")


def connect(base_url: str, where: str, key: str | None = None) -> openai.OpenAI:
    """A client of the server at base_url.

    key: the name of an environment variable that must hold its key; None: OPENAI_API_KEY, if it is set. where: the
    place in params.yaml, in brackets. Raises UserError when there is no key, or none that can be sent, or base_url is
    no address. A key is never shown.
    """
    if not _is_address(base_url):
        raise UserError(f"{shown_url(base_url)} is no address; it must be one like http://localhost:8000/v1. {where}")
    value = os.environ.get(key or DEFAULT_KEY, "").strip()
    if key and not value:
        raise UserError(
            f"the environment variable that is to hold the key of {shown_url(base_url)} is not set. {where}"
        )
    if not (value.isascii() and value.isprintable()):
        raise UserError(f"the key of {shown_url(base_url)} has characters that no key has. {where}")
    return openai.OpenAI(base_url=base_url, api_key=value or "none", max_retries=RETRIES, timeout=3600)


def in_flight(
    waiting: Iterator[Prompt], ask: Callable[[Prompt], list[Completion]], concurrency: int
) -> Iterator[list[Completion]]:
    """What `ask` gives for each prompt, as answers come in; concurrency: how many it has in hand at once.

    What it raises ends the run, but only after the answers to all that was asked before are there: they cost money.
    """
    running: set[Future[list[Completion]]] = set()
    failed: BaseException | None = None
    with ThreadPoolExecutor(concurrency) as threads:
        try:
            while True:
                if failed is None:
                    for prompt in islice(waiting, concurrency - len(running)):
                        running.add(threads.submit(ask, prompt))
                if not running:
                    break
                answered, running = wait(running, return_when=FIRST_COMPLETED)
                finished = [answer.result() for answer in answered if answer.exception() is None]
                failed = next((error for answer in answered if (error := answer.exception())), failed)
                yield from finished
        finally:
            threads.shutdown(cancel_futures=True)
    if failed is not None:
        raise failed


def reason(error: openai.OpenAIError) -> str:
    """What went wrong, in one line and without what was sent."""
    status = getattr(error, "status_code", None)
    return f"{type(error).__name__}{f' (HTTP {status})' if status else ''}"


def shown_url(url: str) -> str:
    """An address without the name, password or query that it may hold."""
    return re.sub(r"(?<=//)[^/]*@|[?#].*", "", url)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, a bracket that nothing closes
        return False
