"""How many requests to endpoints run at the same time, so that slow receivers do not take the places of all other
deliveries: those that fail get one each, and whoever finds none comes back later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["Places"]

_FAILING_S = 15.0
_BUSY_S = 1.0


class Places:
    """Of one node."""

    def __init__(self, per_endpoint: int, per_node: int) -> None:
        self._per_endpoint = per_endpoint
        self._per_node = per_node
        self._taken: Counter[str] = Counter()

    def wait_s(self, endpoint_id: str, *, is_failing: bool) -> float:
        """0 when there is a place; else when to ask again."""
        if self._taken[endpoint_id] >= (1 if is_failing else self._per_endpoint):
            return _FAILING_S if is_failing else _BUSY_S
        return _BUSY_S if self._taken.total() >= self._per_node else 0.0

    @contextmanager
    def taken(self, endpoint_id: str) -> Generator[None]:
        """Hold a place."""
        self._taken[endpoint_id] += 1
        try:
            yield
        finally:
            self._taken[endpoint_id] -= 1
            if not self._taken[endpoint_id]:
                del self._taken[endpoint_id]
