"""One attempt at a delivery, for whoever commits writes together with its end."""

from __future__ import annotations

from sqlalchemy import bindparam, update
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.clock import Clock
from jackfield.jobs.errors import DeliveryTakenError
from jackfield.jobs.holding import DELIVERIES, this_attempt

__all__ = ["Attempt"]

_D = DELIVERIES.c
_SETTLE = (
    update(DELIVERIES)
    .where(*this_attempt("running"))
    .values(
        state="done",
        place="settled",
        attempt=bindparam("number", type_=_D.attempt.type),
        finished_at=bindparam("moment", type_=_D.finished_at.type),
        duration_ms=bindparam("took_ms", type_=_D.duration_ms.type),
        error_code=None,
        error_message=None,
    )
)


class Attempt:
    """What a delivery's handler wrote, and that it is done, become true in one transaction or not at all.

    Attributes:
        reaches_out: It may have changed something outside of the platform; until somebody watches, it may have.
        is_tried: Somebody has begun to settle it; how that ended is in the database.
        is_settled: It is committed that it is done.
        has_conflict: What it saw was changed meanwhile, so nothing was written: it is to run again, and has not failed.
    """

    __slots__ = (
        "_clock",
        "_held",
        "_number",
        "_owner",
        "_sequence",
        "has_conflict",
        "is_settled",
        "is_tried",
        "reaches_out",
    )

    def __init__(self, sequence: int, owner: str, number: int, clock: Clock, held: int | None = None) -> None:
        self._clock = clock
        self._sequence = sequence
        self._owner = owner
        self._number = number
        self._held = number if held is None else held
        self.reaches_out = True
        self.is_tried = self.is_settled = self.has_conflict = False

    async def settle(self, session: AsyncSession, duration_ms: float) -> None:
        """Write down that it is done, in the caller's transaction. As the last thing: others lock the data first too.

        Raises:
            DeliveryTakenError: It is not this attempt any more that the delivery is waiting for.
        """
        self.is_tried = True
        connection = await session.connection()
        result = await connection.execute(
            _SETTLE,
            {
                "this": self._sequence, "this_owner": self._owner, "this_attempt": self._held,
                "number": self._number, "moment": self._clock.now(), "took_ms": duration_ms,
            },
        )  # fmt: skip
        if result.rowcount != 1:
            raise DeliveryTakenError("the delivery was taken over, or is gone; nothing was written")
