"""Life of nodes: each holds a lock, and looks twice a second at who else does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs]  # it has none
import structlog

from jackfield.clock import Clock, SystemClock
from jackfield.db import Database, is_unavailable
from jackfield.db.connecting import connect_arguments, server_settings
from jackfield.nodes import repository
from jackfield.nodes.models import NodeRow

__all__ = ["Nodes", "Seen"]

_log = structlog.get_logger("jackfield.nodes")

_LOOK_S: Final = 0.5
_GRACE_S: Final = 1.5
"""How long a lock has to be free: a node that has lost its connection, as when the database was started again, takes it
anew before that."""
_LONGEST_RETRY_S: Final = 0.4
_ANSWER_S: Final = 3.0
_BEAT_S: Final = 30.0
_READ_S: Final = 10.0
"""How often the rows are read although no lock has changed."""
_KEEP: Final = timedelta(days=1)
_KEEPALIVE: Final = (
    "SET tcp_keepalives_idle = 1; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3; "
    "SET tcp_user_timeout = 4000; SET idle_session_timeout = 0"
)
"""With these, the server notices within four seconds that a machine is gone which could not say so."""

Heard = Callable[[Collection[str]], Awaitable[None]]
"""Given nodes that are gone. Called again with the same ones when it raises."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A node, for operators.

    Attributes:
        is_here: It is the one that was asked.
        is_alive: Its lock is held.
    """

    id: str
    host: str
    pid: int
    version: str
    started_at: datetime
    last_seen_at: datetime
    ended_at: datetime | None
    ended_by: str | None
    is_here: bool
    is_alive: bool


class Nodes:
    """One per node.

    Attributes:
        gone: Nodes that are known to have ended; whoever owned work that is not done yet does not go on with it.
    """

    def __init__(self, database: Database, clock: Clock | None = None, *, version: str = "") -> None:
        self._database = database
        self._clock = clock or SystemClock()
        self._version = version
        self._started_at: datetime | None = None
        self._connection: Any = None
        self._number = 0
        self._known: dict[str, int] = {}
        self._read_at = 0.0
        self._missing: dict[str, float] = {}
        self._untold: set[str] = set()
        self._heard: list[Heard] = []
        self._beat_at = 0.0
        self.gone: set[str] = set()

    def on_gone(self, heard: Heard) -> None:
        """Call this with nodes that are gone, once they are written down as such."""
        self._heard.append(heard)

    @property
    def is_known(self) -> bool:
        """Whether the others can see that this node lives. On SQLite always: there are none."""
        return self._database.is_sqlite or self._connection is not None

    async def start(self) -> None:
        """Be seen from here on.

        Raises:
            OSError, asyncpg.PostgresError, TimeoutError: The database cannot be reached.
        """
        self._started_at = self._clock.now()
        if not self._database.is_sqlite:
            await self._connect()
            return
        await self._put(0)
        async with self._database.write(None) as session:
            self.gone.update(await repository.end_others(session, self._database.node_id, self._started_at))
            await repository.drop_before(session, self._started_at - _KEEP)

    async def run(self) -> None:
        """Look at the others until cancelled; a connection that is lost is made anew, as often as it takes."""
        if self._database.is_sqlite:
            return
        delay_s = 0.05
        while True:
            try:
                if self._connection is None:
                    await self._connect()
                delay_s = 0.05
                await self._look()
            except Exception as error:  # the driver has many ways to say that a connection is lost
                if not isinstance(error, (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)) and (
                    not is_unavailable(error)
                ):
                    _log.exception("nodes-not-looked-at")
                else:
                    _log.warning("node-not-seen", error=str(error), again_in_s=delay_s)
                if self._connection is not None and self._connection.is_closed():
                    await self._disconnect()
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, _LONGEST_RETRY_S)
            else:
                await self._rest()

    async def close(self) -> None:
        """Say that this node has ended, and let go of its lock."""
        if self._started_at is None:
            return
        self._started_at, number = None, self._number
        await self._disconnect()
        async with self._database.write(None) as session:
            await repository.end(session, self._database.node_id, number, self._database.node_id, self._clock.now())

    async def every(self) -> list[Seen]:
        """All nodes of the last day, the youngest first."""
        here, is_sqlite = self._database.node_id, self._database.is_sqlite
        async with self._database.read(None) as session:
            rows = await repository.every(session)
            held = set[int]() if is_sqlite else await repository.held(session)
        return [_seen(row, here, is_sqlite, held, self._clock.now()) for row in rows]

    # -- the lock ------------------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        settings = self._database.settings
        arguments = connect_arguments(settings.notices_url or self._database.url)
        said = server_settings(settings, role=None, limit_s=None)
        said["application_name"] = f"{said['application_name'][:54]} node"
        connection = await cast("Any", asyncpg).connect(
            **arguments, timeout=settings.connect_timeout_s, command_timeout=_ANSWER_S, server_settings=said
        )
        try:
            await connection.execute(_KEEPALIVE)
            number = 0
            while not number:
                # Another one each time: the server may not have noticed yet that the connection before is gone.
                number = 1 + secrets.randbelow(2**31 - 1)
                if not await connection.fetchval("SELECT pg_try_advisory_lock($1, $2)", repository.CLASS, number):
                    number = 0
            before = await self._put(number)
        except BaseException:
            connection.terminate()
            raise
        # Who has seen nothing for a while cannot say since when another has been away.
        self._connection, self._number, self._read_at = connection, number, 0.0
        self._missing.clear()
        if before is not None and before.ended_at is not None:
            _log.error(
                "node-was-taken-for-gone", by=before.ended_by,
                says="it had lost the database; others have gone on with what it was doing",
            )  # fmt: skip

    async def _put(self, number: int) -> NodeRow | None:
        now = self._clock.now()
        row = NodeRow(
            id=self._database.node_id, number=number, host=socket.gethostname()[:255], pid=os.getpid(),
            version=self._version[:64], started_at=self._started_at or now, last_seen_at=now, ended_at=None,
            ended_by=None,
        )  # fmt: skip
        self._beat_at = time.monotonic() + _BEAT_S
        async with self._database.write(None) as session:
            return await repository.put(session, row)

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            with contextlib.suppress(Exception):  # it is not needed any more, whatever it says
                await connection.close(timeout=1.0)

    async def _rest(self) -> None:
        """Until the next look, or until the connection is lost."""
        lost = asyncio.Event()

        def on_lost(_connection: object) -> None:
            lost.set()

        connection = self._connection
        connection.add_termination_listener(on_lost)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await lost.wait()
        finally:
            if not connection.is_closed():
                connection.remove_termination_listener(on_lost)

    # -- the others ----------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        # The process's own time: clocks of machines may be set, and lives do not hang on that.
        now = time.monotonic()
        held = {row[0] for row in await self._connection.fetch(repository.HELD)}
        if self._number not in held:
            await self._disconnect()
            raise TimeoutError("the lock of this node is not held any more")
        if now - self._read_at >= _READ_S or held != set(self._known.values()):
            async with self._database.read(None) as session:
                self._known = await repository.working(session)
            self._read_at = now
            self.gone.difference_update(self._known)
        free = {node for node, number in self._known.items() if number not in held} - {self._database.node_id}
        self._missing = {node: self._missing.get(node, now) for node in free}
        for node in [node for node, since in self._missing.items() if now - since >= _GRACE_S]:
            await self._end(node)
        if now >= self._beat_at:
            self._beat_at = now + _BEAT_S
            async with self._database.write(None) as session:
                await repository.see(session, self._database.node_id, self._clock.now())
                await repository.drop_before(session, self._clock.now() - _KEEP)
        if self._untold:
            await self._tell()

    async def _end(self, node: str) -> None:
        here, moment = self._database.node_id, self._clock.now()
        async with self._database.write(None) as session:
            is_gone = await repository.end(session, node, self._known[node], here, moment)
        if not is_gone:
            return
        _log.warning("node-gone", node=node, says="what it was doing is taken over")
        self._missing.pop(node)
        self._known.pop(node)
        self.gone.add(node)
        self._untold.add(node)

    async def _tell(self) -> None:
        told = frozenset(self._untold)
        for heard in self._heard:
            await heard(told)
        self._untold -= told


def _seen(row: NodeRow, here: str, is_sqlite: bool, held: Collection[int], now: datetime) -> Seen:
    is_here = row.id == here
    is_alive = row.ended_at is None and (is_here if is_sqlite else row.number in held)
    return Seen(
        row.id, row.host, row.pid, row.version, row.started_at, now if is_alive else row.last_seen_at,
        row.ended_at, row.ended_by, is_here, is_alive,
    )  # fmt: skip
