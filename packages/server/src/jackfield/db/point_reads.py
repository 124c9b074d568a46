"""Reads of one row by its key, on the path that plugins use most.

An asynchronous SQLite driver hands each statement to a thread and back, which takes longer than finding the row. In WAL
mode a reader never waits for the writer, so on SQLite the row is looked up here and now, in the event loop. On
PostgreSQL the ordinary pool is used.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakKeyDictionary

from sqlalchemy import Dialect, Engine, Executable, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql.compiler import SQLCompiler

from jackfield.db.engine import Database
from jackfield.db.errors import DatabaseUnavailableError, unavailable
from jackfield.db.joint import joint
from jackfield.db.scopes import SCOPE, scope_of
from jackfield.db.statements import charged

__all__ = ["DatabaseUnavailableError", "PointReader"]

_CACHE_KIB = 20_000
_Processor = Callable[[Any], Any] | None


class PointReader:
    """Fetches single rows outside of any session, so nothing narrows its statements but themselves.

    What another connection has committed is seen by the next read. It closes itself when the database is closed.

    Args:
        database: Where to read.
    """

    def __init__(self, database: Database) -> None:
        self._engine = database.engine
        self._path = _file_of(database) if database.is_sqlite else None
        self._dialect: Dialect = database.engine.dialect
        self._connection: sqlite3.Connection | None = None
        self._compiled: WeakKeyDictionary[Executable, _Compiled] = WeakKeyDictionary()
        event.listen(database.engine.sync_engine, "engine_disposed", self._on_disposed)

    async def fetch_row(self, statement: Executable, params: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """The first row, or None.

        Args:
            statement: A select by a unique key. Keep it at module level: it is compiled once for each object.
            params: `p_tenant` among them says whose row is meant; without it no tenant's rows are seen on PostgreSQL.

        Raises:
            DatabaseUnavailableError: The database did not answer.
        """
        joined = joint.get()
        if joined is not None and joined.engine is self._engine and params.get("p_tenant") == joined.tenant_id:
            found = (await (await joined.session.connection()).execute(statement, params)).first()
            return None if found is None else tuple(found)
        if self._path is not None:
            try:
                return self._fetch_here(statement, params)
            except sqlite3.OperationalError:
                # A checkpoint or a recovery holds the file for a moment. The pool can wait for it, the loop must not.
                self.close()
        try:
            async with self._engine.connect() as connection:
                # Whose row it is has to be said to PostgreSQL, as sessions say it.
                if "p_tenant" in params:
                    await connection.execution_options(**{SCOPE: scope_of(params["p_tenant"])})
                row = (await connection.execute(statement, params)).first()
        except SQLAlchemyError as error:
            raise unavailable(error, "the database did not answer") from error
        return None if row is None else tuple(row)

    def _on_disposed(self, _engine: Engine) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back; the next read opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _fetch_here(self, statement: Executable, params: Mapping[str, Any]) -> tuple[Any, ...] | None:
        compiled = self._compiled.get(statement)
        if compiled is None:
            compiled = self._compiled[statement] = _compile(statement, self._dialect)
        connection = self._connection or self._open()
        payer = charged.get()
        if payer is not None:
            payer.queries += 1
        cursor = connection.cursor()
        try:
            row = cursor.execute(compiled.sql, compiled.arguments(params)).fetchone()
        finally:
            # Ends the read, so that it does not hold back a checkpoint.
            cursor.close()
        return None if row is None else compiled.row(row)

    def _open(self) -> sqlite3.Connection:
        # Not `mode=ro`: the last connection to leave has to be able to fold the WAL back into the file.
        connection = sqlite3.connect(
            f"file:{self._path}?mode=rw", uri=True, timeout=0, isolation_level=None, check_same_thread=False
        )
        for pragma in ("query_only=ON", f"cache_size=-{_CACHE_KIB}", "trusted_schema=OFF"):
            connection.execute(f"PRAGMA {pragma}")
        self._connection = connection
        return connection


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement as the driver takes it, with what its types do to values on the way in and out."""

    sql: str
    names: tuple[str, ...]
    constants: dict[str, Any]
    binds: Mapping[str, _Processor]
    results: tuple[_Processor, ...] | None

    def arguments(self, params: Mapping[str, Any]) -> list[Any]:
        values: list[Any] = []
        for name in self.names:
            value = params[name] if name in params else self.constants[name]
            processor = self.binds.get(name)
            values.append(value if processor is None else processor(value))
        return values

    def row(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        if self.results is None:
            return row
        return tuple(
            value if processor is None else processor(value) for value, processor in zip(row, self.results, strict=True)
        )


def _compile(statement: Executable, dialect: Dialect) -> _Compiled:
    compiled = cast("SQLCompiler", cast("Any", statement).compile(dialect=dialect))
    binds = {
        name: processor
        for name, bind in compiled.binds.items()
        if (processor := bind.type.dialect_impl(dialect).bind_processor(dialect)) is not None
    }
    columns = getattr(statement, "selected_columns", ())
    results = tuple(column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns)
    return _Compiled(
        sql=compiled.string,
        names=tuple(compiled.positiontup or ()),
        constants=dict(compiled.params),
        binds=binds,
        results=results if any(results) else None,
    )


def _file_of(database: Database) -> str | None:
    """The database's file, escaped for a URI; None when it is in memory or named by a URI already."""
    name = make_url(database.url).database
    if not name or name == ":memory:" or name.startswith("file:"):
        return None
    return name.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
