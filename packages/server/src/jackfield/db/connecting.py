"""How the platform connects to PostgreSQL: as whom, with how many connections, and with which patience."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any, cast

import asyncpg  # pyright: ignore[reportMissingTypeStubs]  # it has none
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool

from jackfield.db.scopes import ScopedConnection
from jackfield.settings import DatabaseSettings

__all__ = ["admin_options", "connect_arguments", "pool_options", "server_settings"]

_CLIENT_SLACK_S = 5.0
"""How much longer than the server we wait ourselves: for a server that cannot say any more that time is up."""


def pool_options(settings: DatabaseSettings) -> dict[str, Any]:
    """Options of the engine that serves: SQLAlchemy's `create_async_engine` takes them."""
    limit_s = settings.statement_timeout_s
    return {
        "pool_size": settings.pool_size,
        "max_overflow": settings.pool_overflow,
        "pool_timeout": settings.pool_timeout_s,
        "pool_recycle": int(settings.pool_recycle_s),
        # The one used last comes first, so that those of a busy moment grow idle and can be let go.
        "pool_use_lifo": True,
        "connect_args": {
            "async_creator_fn": connecting_with(ScopedConnection),
            "timeout": settings.connect_timeout_s,
            "command_timeout": limit_s + _CLIENT_SLACK_S,
            "statement_cache_size": settings.statement_cache,
            "prepared_statement_cache_size": settings.statement_cache,
            "server_settings": server_settings(settings, role=settings.role or None, limit_s=limit_s),
        },
    }


def admin_options(settings: DatabaseSettings) -> dict[str, Any]:
    """Options of the engine that changes the schema: one connection at a time, kept by nobody, as long as it takes."""
    return {
        "poolclass": NullPool,
        "connect_args": {
            "async_creator_fn": connecting_with(asyncpg.Connection),
            "timeout": settings.connect_timeout_s,
            "server_settings": server_settings(settings, role=None, limit_s=None),
        },
    }


def server_settings(settings: DatabaseSettings, *, role: str | None, limit_s: float | None) -> dict[str, str]:
    """What a connection says of itself when it is made, and what the server holds it to."""
    found = {"application_name": application_name(settings), "jit": "off"}
    if role is not None:
        # From its first moment: there is no time at which a connection of the pool is anybody else.
        found["role"] = role
    if limit_s is not None:
        found["statement_timeout"] = str(int(limit_s * 1000))
        # A transaction that waits for us longer than that is one we have lost; it would hold its locks.
        found["idle_in_transaction_session_timeout"] = str(int(max(60.0, 2 * limit_s) * 1000))
    return found


def application_name(settings: DatabaseSettings) -> str:
    """What `pg_stat_activity` shows."""
    return (settings.application_name or f"jackfield {socket.gethostname()}:{os.getpid()}")[:63]


def connect_arguments(url: str | URL) -> dict[str, Any]:
    """The driver's own arguments, for a connection outside of any pool."""
    from sqlalchemy.dialects.postgresql.asyncpg import dialect

    arguments: dict[str, Any] = cast("Any", dialect()).create_connect_args(make_url(url))[1]
    for name in ("prepared_statement_cache_size", "prepared_statement_name_func", "async_fallback"):
        arguments.pop(name, None)
    return arguments


def connecting_with(connection_class: type[Any]) -> Callable[..., Awaitable[Any]]:
    """A function that connects, and whose failures look like every other failure of the database."""

    async def connect(*args: Any, **options: Any) -> Any:
        try:
            return await cast("Any", asyncpg).connect(*args, connection_class=connection_class, **options)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            # SQLAlchemy lets what the socket says through as it is. Nobody above looks for that.
            failure = AsyncAdapt_asyncpg_dbapi.OperationalError(f"cannot connect: {error}", error)
            failure.jackfield_connecting = error  # type: ignore[attr-defined]  # tells it from a statement's failure
            raise failure from error

    return connect
