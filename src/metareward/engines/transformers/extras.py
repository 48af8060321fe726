"""Importing transformers 5.19 without sklearn and scipy.

Assisted decoding alone needs sklearn, and object detection scipy: unused here, and 1.9 s at import in every stage.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import transformers.utils

from metareward.engines.transformers.patches import patched


@contextmanager
def no_extras() -> Iterator[None]:
    """What is imported of transformers meanwhile takes the two for missing, and does not import them later either."""
    with patched(transformers.utils, is_sklearn_available=lambda: False, is_scipy_available=lambda: False):
        yield
