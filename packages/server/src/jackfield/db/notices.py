"""Nodes tell one another what has changed, so that what each keeps in memory is never old for long.

A notice travels in the transaction that makes the change: it is heard when that is committed, and never otherwise. On
PostgreSQL one connection of each node listens (`LISTEN`). On SQLite there is one node, and nobody to be told.

While nothing was heard, because the connection was lost, anything may have changed; so whoever keeps something in
memory also says how to forget all of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs]  # it has none
import structlog
from sqlalchemy import bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapper, Session

from jackfield.db.connecting import connect_arguments, server_settings
from jackfield.db.engine import NODE, Database

__all__ = ["CHANNEL", "Notices", "tell", "tell_in"]

CHANNEL: Final = "jackfield"
Heard = Callable[[str], Awaitable[None] | None]
"""Given the subject of a notice."""
Forget = Callable[[], Awaitable[None] | None]

_log = structlog.get_logger("jackfield.db")

_NOTIFY = select(func.pg_notify(CHANNEL, bindparam("payload")))
_SUBJECT_CHARS = 1_000
_KEEPALIVE_S = 5.0
"""How often the connection is tried: one that was cut somewhere on the way says nothing by itself."""
_ANSWER_S = 3.0
_HINT_S = 0.02
"""The least time between two hints of a kind: they cost the same however much there is to hint at."""
_LONGEST_RETRY_S = 2.0


async def tell(session: AsyncSession, topic: str, subject: str = "") -> None:
    """Have the other nodes hear of a change when this transaction is committed.

    Args:
        topic: One word; who keeps something in memory listens to it.
        subject: What has changed, as the listeners of the topic understand it.
    """
    await session.run_sync(tell_in, topic, subject)


def tell_in(session: Session, topic: str, subject: str = "", mapper: Mapper[Any] | None = None) -> None:
    """`tell`, for what runs within a session.

    Args:
        mapper: Of what was changed, for a session that works with several databases.
    """
    if session.get_bind(mapper).dialect.name == "postgresql":
        payload = f"{session.info.get(NODE, '-')} {topic} {subject[:_SUBJECT_CHARS]}"
        session.connection(bind_arguments={"mapper": mapper}).execute(_NOTIFY, {"payload": payload})


class Notices:
    """What this node hears from others. It does not hear itself."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._heard: defaultdict[str, list[Heard]] = defaultdict(list)
        self._forget: list[Forget] = []
        self._connection: Any = None
        self._is_lost = asyncio.Event()
        self._stir = asyncio.Event()
        self._hints: set[str] = set()
        self._waiting: asyncio.Queue[Awaitable[None]] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._has_listened = False

    def on(self, topic: str, heard: Heard) -> None:
        """Call this with the subject of each notice of a topic."""
        self._heard[topic].append(heard)

    def on_gap(self, forget: Forget) -> None:
        """Call this when notices may have been missed."""
        self._forget.append(forget)

    @property
    def is_listening(self) -> bool:
        """Whether notices arrive at this moment. On SQLite always: there are none."""
        return self._database.is_sqlite or self._connection is not None

    async def start(self) -> None:
        """Listen from here on.

        Raises:
            OSError, asyncpg.PostgresError, TimeoutError: The database cannot be reached.
        """
        self._loop = asyncio.get_running_loop()
        if not self._database.is_sqlite and self._connection is None:
            await self._connect()

    async def run(self) -> None:
        """Hear what others tell until cancelled; what is lost is connected again, as often as it takes."""
        if self._database.is_sqlite:
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._work_off())
                delay_s = 0.05
                while True:
                    try:
                        await self.start()
                        delay_s = 0.05
                        await self._attend()
                    except Exception as error:  # the driver has many ways to say that a connection is lost
                        _log.error("notices-not-heard", error=str(error), again_in_s=delay_s)
                    await self.close()
                    await asyncio.sleep(delay_s)
                    delay_s = min(delay_s * 2, _LONGEST_RETRY_S)
        finally:
            await self.close()

    async def close(self) -> None:
        """Listen no more."""
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            with contextlib.suppress(Exception):  # it is not needed any more, whatever it says
                await connection.close(timeout=1.0)

    def hint(self, topic: str) -> None:
        """Tell the others soon, outside any transaction and without waiting. May be lost. From whatever thread."""
        loop = self._loop
        if loop is None or self._database.is_sqlite:
            return
        with contextlib.suppress(RuntimeError):  # the loop was closed a moment ago
            loop.call_soon_threadsafe(self._hint, topic)

    def _hint(self, topic: str) -> None:
        self._hints.add(topic)
        self._stir.set()

    async def _connect(self) -> None:
        settings = self._database.settings
        arguments = connect_arguments(settings.notices_url or self._database.url)
        said = server_settings(settings, role=None, limit_s=None)
        # What it commits is hints alone: nobody waits for the disk for those.
        said |= {"application_name": f"{said['application_name'][:50]} notices", "synchronous_commit": "off"}
        connection = await cast("Any", asyncpg).connect(
            **arguments, timeout=settings.connect_timeout_s, server_settings=said
        )
        self._is_lost.clear()
        connection.add_termination_listener(self._on_lost)
        await connection.add_listener(CHANNEL, self._on_notice)
        self._connection = connection
        if self._has_listened:
            _log.warning("notices-missed", says="what is kept in memory is read anew")
            for forget in self._forget:
                self._call(forget)
        self._has_listened = True

    async def _attend(self) -> None:
        """Keep the connection alive and send hints, until it is lost."""
        while not self._is_lost.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_KEEPALIVE_S):
                    await self._stir.wait()
            self._stir.clear()
            hints, self._hints = self._hints, set()
            async with asyncio.timeout(_ANSWER_S):
                for topic in hints:
                    payload = f"{self._database.node_id} {topic} "
                    await self._connection.execute("SELECT pg_notify($1, $2)", CHANNEL, payload)
                if not hints and not self._is_lost.is_set():
                    await self._connection.execute("SELECT 1")
            if hints:
                await asyncio.sleep(_HINT_S)

    async def _work_off(self) -> None:
        while True:
            work = await self._waiting.get()
            try:
                await work
            except Exception:
                _log.exception("notice-not-followed")

    def _on_lost(self, _connection: object) -> None:
        self._is_lost.set()
        self._stir.set()

    def _on_notice(self, _connection: object, _pid: int, _channel: str, payload: str) -> None:
        node, _, rest = payload.partition(" ")
        topic, _, subject = rest.partition(" ")
        if node == self._database.node_id:
            return
        for heard in self._heard.get(topic, ()):
            self._call(lambda heard=heard: heard(subject))

    def _call(self, action: Callable[[], Awaitable[None] | None]) -> None:
        """What can be done at once is; what has to wait for something waits its turn."""
        try:
            work = action()
        except Exception:
            _log.exception("notice-not-followed")
            return
        if work is not None:
            self._waiting.put_nowait(work)
