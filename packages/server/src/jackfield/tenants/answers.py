"""Idempotency keys and kept answers in the database."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from sqlalchemy import delete, update
from sqlalchemy.dialects import postgresql, sqlite

from jackfield.clock import Clock, SystemClock
from jackfield.db import Database
from jackfield.http import Answer, Reservation
from jackfield.tenants.models import KeptAnswer

__all__ = ["SqlAnswers"]


class SqlAnswers:
    """The platform's `Answers`.

    Args:
        keep_for: How long a key is remembered.
        busy_for: How long a request may run before it is given up; above any limit of a call.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock | None = None,
        *,
        keep_for: timedelta = timedelta(hours=24),
        busy_for: timedelta = timedelta(minutes=5),
    ) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        self._keep_for = keep_for
        self._busy_for = busy_for

    async def reserve(self, subject: str, key: str, fingerprint: str) -> Reservation:
        """Take the key, or say what became of it. The insertion decides between two that come at once."""
        now = self._clock.now()
        dialect = sqlite if self._database.is_sqlite else postgresql
        insert = (
            dialect.insert(KeptAnswer)
            .values(
                subject=subject,
                key=key,
                fingerprint=fingerprint,
                state="running",
                busy_until=now + self._busy_for,
                expires_at=now + self._keep_for,
            )
            .on_conflict_do_nothing()
            .returning(KeptAnswer.key)
        )
        async with self._database.write(None) as session:
            await session.execute(delete(KeptAnswer).where(KeptAnswer.expires_at <= now))
            if await session.scalar(insert) is not None:
                return Reservation("new")
            kept = await session.get_one(KeptAnswer, (subject, key))
        if kept.fingerprint != fingerprint:
            return Reservation("reused")
        if kept.state == "kept":
            headers = msgspec.json.decode(kept.headers or b"[]", type=tuple[tuple[str, str], ...])
            return Reservation("kept", Answer(kept.status or 200, headers, kept.body))
        if kept.state == "running" and kept.busy_until > now:
            return Reservation("busy", retry_after_s=min(5.0, (kept.busy_until - now).total_seconds()))
        return Reservation("unknown")

    async def keep(self, subject: str, key: str, answer: Answer) -> None:
        """The request was answered."""
        await self._change(
            subject,
            key,
            state="kept",
            status=answer.status,
            headers=msgspec.json.encode(answer.headers),
            body=answer.body,
        )

    async def release(self, subject: str, key: str) -> None:
        """The request was not begun."""
        async with self._database.write(None) as session:
            await session.execute(delete(KeptAnswer).where(KeptAnswer.subject == subject, KeptAnswer.key == key))

    async def give_up(self, subject: str, key: str) -> None:
        """The request failed half-way."""
        await self._change(subject, key, state="unknown")

    async def give_up_all(self) -> None:
        """On the start of a platform that runs on one node: whatever was running died with the process before."""
        async with self._database.write(None) as session:
            await session.execute(update(KeptAnswer).where(KeptAnswer.state == "running").values(state="unknown"))

    async def _change(self, subject: str, key: str, **values: object) -> None:
        async with self._database.write(None) as session:
            await session.execute(
                update(KeptAnswer).where(KeptAnswer.subject == subject, KeptAnswer.key == key).values(**values)
            )
