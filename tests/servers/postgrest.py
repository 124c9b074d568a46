"""PostgREST, as far as its adapter can meet it, over a real PostgreSQL.

What PostgreSQL does here it also does behind the real one: literals are untyped and take the column's type, rows come
in through `json_populate_recordset`, answers go out through `json_agg`, and errors have PostgreSQL's own codes.
Horizontal filters, `and`/`or`/`not` trees, ordering, `limit`, `offset`, `Prefer: return=…, count=exact`,
`Content-Range` and the `PGRST…` errors follow the documentation of PostgREST 12. There are no
embeddings, no functions and no media types.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

__all__ = ["PostgRest"]

_OPERATORS = {
    "eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "like": "LIKE", "ilike": "ILIKE",
    "is": "IS", "in": "IN", "match": "~", "imatch": "~*",
}  # fmt: skip
_RESERVED = {"select", "order", "limit", "offset", "and", "or", "not.and", "not.or", "on_conflict", "columns"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_STATUS = {"23505": 409, "23503": 409, "42501": 403, "42P01": 404, "57014": 500}


class _PgrstError(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass
class PostgRest:
    """The server; `app` is to be served.

    Args:
        folder: Of the PostgreSQL server's socket.
        database: Its name.
        api_key: Asked for in `apikey` and as the bearer, as Supabase does; None lets everybody in.
        max_rows: As the setting of this name.

    Attributes:
        seen: Method, path, query string and `Prefer` of each request.
    """

    folder: str
    database: str
    api_key: str | None = None
    max_rows: int = 1000
    seen: list[tuple[str, str, str, str]] = field(default_factory=list)

    @property
    def app(self) -> Starlette:
        methods = ["GET", "POST", "PATCH", "DELETE"]
        return Starlette(routes=[Route("/rest/v1/{table}", self._answer, methods=methods)])

    async def _answer(self, request: Request) -> Response:
        prefer = request.headers.get("prefer", "")
        self.seen.append((request.method, request.url.path, request.url.query, prefer))
        if self.api_key is not None and (
            request.headers.get("apikey") != self.api_key
            or request.headers.get("authorization") != f"Bearer {self.api_key}"
        ):
            return JSONResponse({"message": "Invalid API key", "hint": "Double check your API key."}, 401)
        try:
            connection: Any = await asyncpg.connect(host=self.folder, user="postgres", database=self.database)
            try:
                columns = await _columns(connection, request.path_params["table"])
                return await _Query(connection, request, columns, self.max_rows).run(prefer)
            finally:
                await connection.close()
        except _PgrstError as error:
            body = {"code": error.code, "message": error.message, "details": None, "hint": None}
            return JSONResponse(body, error.status)
        except asyncpg.PostgresError as error:
            code = str(error.sqlstate)
            status = _STATUS.get(code, 400)
            return JSONResponse({"code": code, "message": str(error), "details": None, "hint": None}, status)


async def _columns(connection: Any, table: str) -> list[str]:
    rows = await connection.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $1", table
    )
    if not rows:
        raise _PgrstError(404, "PGRST205", f"Could not find the table 'public.{table}' in the schema cache")
    return [row[0] for row in rows]


class _Query:
    def __init__(self, connection: Any, request: Request, columns: list[str], max_rows: int) -> None:
        self._connection = connection
        self._request = request
        self._table: str = request.path_params["table"]
        self._columns = columns
        self._pairs = list(request.query_params.multi_items())
        self._max_rows = max_rows

    async def run(self, prefer: str) -> Response:
        wishes = {wish.strip() for wish in prefer.split(",")}
        match self._request.method:
            case "GET":
                return await self._get("count=exact" in wishes)
            case "POST":
                return await self._post(wishes)
            case "PATCH":
                source = (
                    f'UPDATE "{self._table}" SET {await self._assignments()} '
                    f'FROM json_populate_recordset(null::"{self._table}", {_json(await self._rows())}::json) AS _new'
                    f"{self._where(self._table)}"
                )
                return await self._write(source, "return=representation" in wishes, 200)
            case _:
                source = f'DELETE FROM "{self._table}"{self._where()}'
                return await self._write(source, "return=representation" in wishes, 200)

    async def _post(self, wishes: set[str]) -> Response:
        rows = await self._rows()
        given = dict(self._pairs).get("columns", "").split(",")
        names = given if given != [""] else list(rows[0])
        if "missing=default" in wishes:
            # Rows that leave out the same columns go in together; the real one puts the defaults into the JSON instead.
            groups = [(tuple(name for name in names if name in row), row) for row in rows]
        else:
            groups = [(tuple(names), row) for row in rows]
        found: list[Any] = []
        async with self._connection.transaction():
            for columns, row in groups:
                listed = ", ".join(self._column(name) for name in columns)
                source = (
                    f'INSERT INTO "{self._table}" ({listed}) SELECT {listed} '
                    f'FROM json_populate_recordset(null::"{self._table}", {_json([row])}::json)'
                )
                found += msgspec.json.decode(await self._written(source))
        if "return=representation" not in wishes:
            return Response(status_code=201)
        return Response(msgspec.json.encode(found), 201, media_type="application/json; charset=utf-8")

    async def _get(self, counts: bool) -> Response:
        single = dict(self._pairs)
        limit = min(int(single.get("limit", self._max_rows)), self._max_rows)
        offset = int(single.get("offset", 0))
        where = self._where()
        rows = await self._connection.fetchval(
            f"SELECT coalesce(json_agg(_t), '[]')::text FROM (SELECT {self._selected()} FROM \"{self._table}\"{where}"
            f"{self._order(single.get('order', ''))} LIMIT {limit} OFFSET {offset}) AS _t"
        )
        got = len(msgspec.json.decode(rows))
        total = "*"
        if counts:
            total = str(await self._connection.fetchval(f'SELECT count(*) FROM "{self._table}"{where}'))
            if offset and offset >= int(total):
                raise _PgrstError(416, "PGRST103", "Requested range not satisfiable")
        span = f"{offset}-{offset + got - 1}" if got else "*"
        status = 206 if counts and got < int(total) else 200
        return Response(
            rows, status, media_type="application/json; charset=utf-8", headers={"Content-Range": f"{span}/{total}"}
        )

    async def _write(self, source: str, returns: bool, status: int) -> Response:
        rows = await self._written(source)
        if not returns:
            return Response(status_code=204)
        return Response(rows, status, media_type="application/json; charset=utf-8")

    async def _written(self, source: str) -> str:
        rows: str = await self._connection.fetchval(
            f"WITH _w AS ({source} RETURNING {self._selected(self._table)}) "
            "SELECT coalesce(json_agg(_w), '[]')::text FROM _w"
        )
        return rows

    # -- parts -------------------------------------------------------------------------------------------------------

    def _selected(self, table: str = "") -> str:
        wanted = dict(self._pairs).get("select", "*")
        names = self._columns if wanted == "*" else wanted.split(",")
        return ", ".join(self._column(name, table) for name in names)

    def _column(self, name: str, table: str = "") -> str:
        if name not in self._columns or not _NAME.match(name):
            raise _PgrstError(400, "42703", f"column {self._table}.{name} does not exist")
        return f'"{table}"."{name}"' if table else f'"{name}"'

    async def _assignments(self) -> str:
        names: dict[str, Any] = msgspec.json.decode(await self._request.body())
        for name in names:
            if name not in self._columns:
                raise _PgrstError(400, "PGRST204", f"Could not find the '{name}' column of '{self._table}'")
        return ", ".join(f"{self._column(name)} = _new.{self._column(name)}" for name in names)

    async def _rows(self) -> list[Any]:
        try:
            body = msgspec.json.decode(await self._request.body())
        except msgspec.DecodeError:
            raise _PgrstError(400, "PGRST102", "Empty or invalid json") from None
        return body if isinstance(body, list) else [body]

    def _order(self, text: str) -> str:
        terms: list[str] = []
        for part in filter(None, text.split(",")):
            name, *rest = part.split(".")
            words = {"asc": "ASC", "desc": "DESC", "nullsfirst": "NULLS FIRST", "nullslast": "NULLS LAST"}
            try:
                terms.append(" ".join([self._column(name), *(words[word] for word in rest)]))
            except KeyError:
                raise _PgrstError(400, "PGRST100", f"failed to parse order ({text})") from None
        return f" ORDER BY {', '.join(terms)}" if terms else ""

    def _where(self, table: str = "") -> str:
        terms: list[str] = []
        for name, value in self._pairs:
            if name in ("and", "or", "not.and", "not.or"):
                terms.append(self._tree(name, value, table))
            elif name not in _RESERVED:
                terms.append(self._term(name, value, table))
        return f" WHERE {' AND '.join(terms)}" if terms else ""

    def _tree(self, word: str, text: str, table: str) -> str:
        if not (text.startswith("(") and text.endswith(")")):
            raise _PgrstError(400, "PGRST100", f"failed to parse logic tree ({text})")
        negated = word.startswith("not.")
        joined = f" {word.removeprefix('not.').upper()} ".join(
            self._node(part, table) for part in _split(text[1:-1], text)
        )
        return f"NOT ({joined})" if negated else f"({joined})"

    def _node(self, text: str, table: str) -> str:
        match = re.match(r"((?:not\.)?(?:and|or))(\(.*\))\Z", text, re.DOTALL)
        if match:
            return self._tree(match[1], match[2], table)
        name, dot, rest = text.partition(".")
        if not dot:
            raise _PgrstError(400, "PGRST100", f"failed to parse logic tree ({text})")
        return self._term(name, rest, table, is_nested=True)

    def _term(self, name: str, text: str, table: str, *, is_nested: bool = False) -> str:
        negated = text.startswith("not.")
        operator, dot, value = text.removeprefix("not.").partition(".")
        if operator not in _OPERATORS or not dot:
            raise _PgrstError(400, "PGRST100", f'"failed to parse filter ({text})"')
        column = self._column(name, table)
        if operator == "is":
            if value not in ("null", "true", "false", "unknown"):
                raise _PgrstError(400, "PGRST100", f'"failed to parse filter ({text})"')
            term = f"{column} IS {value.upper()}"
        elif operator == "in":
            if not (value.startswith("(") and value.endswith(")")):
                raise _PgrstError(400, "PGRST100", f'"failed to parse filter ({text})"')
            values = [_unquoted(part) for part in _split(value[1:-1], text)]
            term = f"{column} IN ({', '.join(map(_literal, values))})" if values else "false"
        else:
            # Only within lists and trees are quotes a part of the grammar.
            plain = _unquoted(value) if is_nested else value
            if operator in ("like", "ilike"):
                plain = plain.replace("*", "%")
            term = f"{column} {_OPERATORS[operator]} {_literal(plain)}"
        return f"NOT ({term})" if negated else term


def _split(text: str, whole: str) -> list[str]:
    """At commas that are neither quoted nor within brackets."""
    parts, part, depth, is_quoted, escaped = list[str](), "", 0, False, False
    for char in text:
        if escaped:
            part, escaped = part + char, False
            continue
        if is_quoted and char == "\\":
            escaped = True
        elif char == '"':
            is_quoted = not is_quoted
        elif not is_quoted and char in "()":
            depth += 1 if char == "(" else -1
        if char == "," and depth == 0 and not is_quoted:
            parts.append(part)
            part = ""
        else:
            part += char
    if is_quoted or depth:
        raise _PgrstError(400, "PGRST100", f"failed to parse ({whole})")
    return [*parts, part] if part or parts else []


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text.startswith('"') and text.endswith('"'):
        return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)
    return text


def _json(rows: list[Any]) -> str:
    return _literal(msgspec.json.encode(rows).decode())


def _literal(text: str) -> str:
    # Untyped: PostgreSQL gives it the column's type. Backslashes are plain with standard_conforming_strings.
    return "'" + text.replace("'", "''") + "'"
