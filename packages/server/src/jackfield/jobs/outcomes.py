"""What becomes of a delivery after an attempt. Pure: values in, values out."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from jackfield.jobs.interfaces import DeliveryResult

__all__ = ["INTERRUPTION_LIMIT", "RetryPolicy", "Verdict", "decide", "stored_text"]

INTERRUPTION_LIMIT = 20
"""How often the node may die under a delivery before the delivery is suspected of being the cause."""

_LONGEST_WISH_S = 86_400.0
_SHORTEST_DEFER_S = 0.05


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off.

    Attributes:
        jitter: Part of the delay by which it is made longer or shorter at random, so that those who failed together do
            not come back together.
    """

    base_s: float = 5.0
    factor: float = 5.0
    limit_s: float = 3600.0
    jitter: float = 0.2
    random: random.Random = field(default_factory=random.Random)

    def delay_s(self, failures: int) -> float:
        """Seconds to wait after so many failures."""
        delay = self.base_s
        for _ in range(failures - 1):  # not a power: that one overflows for a patient subscription
            delay *= self.factor
            if delay >= self.limit_s:
                break
        return min(delay, self.limit_s) * self.random.uniform(1 - self.jitter, 1 + self.jitter)


class Verdict(msgspec.Struct, gc=False):
    """The new state of a delivery, see `models.Delivery`."""

    state: str
    place: str | None
    failures: int
    next_attempt_at: datetime | None
    finished_at: datetime | None
    error_code: str | None
    error_message: str | None
    duration_ms: float


def decide(result: DeliveryResult, *, failures: int, max_attempts: int, policy: RetryPolicy, now: datetime) -> Verdict:
    """What an attempt's result means, after so many failures before it."""
    is_failure = result.status in {"retry", "dead"}
    failures += is_failure
    if result.status == "deferred" or (result.status == "retry" and failures < max_attempts):
        wish = result.retry_after_s
        delay = policy.delay_s(max(failures, 1)) if wish is None else min(max(wish, 0.0), _LONGEST_WISH_S)
        if result.status == "deferred":
            # Never at once, and later rather than sooner: whoever was turned away together must not come back together.
            delay = max(delay, _SHORTEST_DEFER_S) * policy.random.uniform(1, 1 + policy.jitter)
        state, place, next_attempt_at = "pending", "waiting", now + timedelta(seconds=delay)
    else:
        state, place, next_attempt_at = "dead" if is_failure else result.status, None, None
    return Verdict(
        state=state,
        place=place,
        failures=failures,
        next_attempt_at=next_attempt_at,
        finished_at=None if place else now,
        error_code=result.code,
        error_message=result.message,
        duration_ms=result.duration_ms,
    )


def stored_text(value: str | None, limit: int) -> str | None:
    """Text that any database takes: PostgreSQL refuses NUL and what is too long for its column."""
    if value is None:
        return None
    return value[:limit].replace("\0", "\ufffd").encode("utf-8", "replace").decode()
