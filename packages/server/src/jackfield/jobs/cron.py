"""When a schedule is due. Pure.

The expressions are those of cron: minute, hour, day of the month, month, day of the week. Daylight saving is treated as
Debian's cron treats it: what falls into an hour that is skipped runs right after it, and what falls into an hour that
comes twice runs once, unless minute or hour begin with a star.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from jackfield.jobs.errors import CronInvalidError

__all__ = ["Cron", "jitter"]

_FIELDS = 5


class Cron:
    """A cron expression in a time zone.

    Raises:
        CronInvalidError: One of them is none, or the expression never comes true.
    """

    def __init__(self, expression: str, timezone: str = "UTC") -> None:
        if len(expression.split()) != _FIELDS:
            raise CronInvalidError(f"`{expression[:60]}` has not five parts", expression=expression[:120])
        try:
            self._zone = ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise CronInvalidError(f"there is no time zone `{timezone[:60]}`", expression=expression[:120]) from error
        self._expression = expression
        try:
            next(CronSim(expression, datetime(2024, 1, 1, tzinfo=UTC)))
        except (CronSimError, StopIteration) as error:
            raise CronInvalidError(
                f"`{expression[:60]}` is no cron expression that comes true", expression=expression[:120]
            ) from error

    def after(self, moment: datetime) -> datetime:
        """The first time it is due after a moment, in UTC."""
        return next(CronSim(self._expression, moment.astimezone(self._zone))).astimezone(UTC)

    def last_before(self, moment: datetime, since: datetime) -> tuple[datetime | None, int]:
        """The last time it was due after `since` and not after `moment`, and how often it was, at most 1,000 times."""
        last: datetime | None = None
        count = 0
        for due in CronSim(self._expression, since.astimezone(self._zone)):
            if due > moment:
                break
            last, count = due.astimezone(UTC), count + 1
            if count == 1000:
                # Of a minute's schedule that was away for long only the last time matters.
                found = next(CronSim(self._expression, moment.astimezone(self._zone), reverse=True)).astimezone(UTC)
                return max(last, found), count
        return last, count


def jitter(installation_id: str, name: str, limit_s: int) -> timedelta:
    """How much later than its time a schedule of an installation runs: always the same, spread over installations."""
    if limit_s <= 0:
        return timedelta(0)
    digest = hashlib.sha256(f"{installation_id}\0{name}".encode()).digest()
    return timedelta(seconds=int.from_bytes(digest[:8], "big") % (limit_s + 1))
