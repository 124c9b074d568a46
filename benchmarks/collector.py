"""The garbage collector as `jackfield serve` has it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from jackfield.serving import calm_collector

__all__ = ["as_served"]


@contextmanager
def as_served() -> Iterator[None]:
    """In the block; what is there at its beginning is not looked through."""
    thresholds = gc.get_threshold()
    calm_collector()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
