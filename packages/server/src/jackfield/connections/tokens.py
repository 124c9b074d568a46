"""Access tokens, always fresh: got ahead of their end, once for all who wait, on one node at a time.

A refresh token that rotates is good once. Two nodes that used the same one would end the whole grant; so whoever gets
new tokens says so in the connection's row first, and the others wait for the row to change.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import msgspec
import structlog
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield.capabilities import set_secrets
from jackfield.capabilities.envelope import Envelope
from jackfield.clock import Clock
from jackfield.connections.credentials import AuthorizationCode, Credentials, OAuth2, Stored, read_credentials
from jackfield.connections.errors import (
    ConnectionBrokenError,
    ConnectionChangedError,
    ConnectionNotReadyError,
    TokenEndpointError,
)
from jackfield.connections.models import ConnectionRow
from jackfield.connections.oauth2 import TokenClient, Tokens
from jackfield.connections.repository import (
    changed,
    claim_renewal,
    decoded,
    sealed_values,
    secret_name,
    tokens_name,
)
from jackfield.db import Database

__all__ = ["Connected", "TokenKeeper"]

_log = structlog.get_logger("jackfield.connections")
_CLAIM_S = 40.0
"""Longer than a token endpoint is waited for; a node that dies meanwhile holds the others up for so long."""
_LOOK_AGAIN_S = 0.1
_KEPT = 10_000
_NO_TOKEN_MATTERS = frozenset({"invalid_grant", "invalid_client", "unauthorized_client", "access_denied"})
"""Answers after which trying again is of no use."""


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection as those who use it need it.

    Attributes:
        version: See `ConnectionRow`.
    """

    id: str
    tenant_id: str
    installation_id: str
    slug: str
    name: str
    version: int
    credentials: Credentials

    @property
    def who(self) -> tuple[str, str]:
        """Tenant and installation, whose traffic it is."""
        return self.tenant_id, self.installation_id


def connected(row: ConnectionRow) -> Connected:
    """A row in that form."""
    return Connected(
        row.id, row.tenant_id, row.installation_id, row.slug, row.name, row.version, read_credentials(row.credentials)
    )


class TokenKeeper:
    """One per node."""

    def __init__(self, database: Database, envelope: Envelope, client: TokenClient, clock: Clock) -> None:
        self._database = database
        self._envelope = envelope
        self._client = client
        self._clock = clock
        self._kept: dict[str, tuple[int, Tokens]] = {}
        self._under_way: dict[str, asyncio.Task[Tokens]] = {}

    async def secrets(self, connection: Connected) -> Stored:
        """The secret values that were entered."""
        async with self._database.read(connection.tenant_id) as session:
            sealed = await sealed_values(session, connection.installation_id, [secret_name(connection.name)])
        return await self._opened(connection, sealed)

    async def access(self, connection: Connected, *, refused: str = "") -> str:
        """An access token that is good now.

        Args:
            refused: One that the other side did not accept, although it should be good.

        Raises:
            ConnectionNotReadyError: Nobody has agreed yet.
            ConnectionBrokenError: The OAuth2 server does not know us any more.
            TokenEndpointError: It cannot be had now.
        """
        version, kept = self._kept.get(connection.id, (0, None))
        if kept and version == connection.version and kept.access != refused and kept.is_fresh(self._now):
            return kept.access
        task = self._under_way.get(connection.id)
        if task is None:
            task = asyncio.create_task(self._renewed(connection, refused))
            self._under_way[connection.id] = task
            task.add_done_callback(lambda done: self._done(connection.id, done))
        # Shielded: one caller that gives up must not take the answer, and the new refresh token, from the others.
        tokens = await asyncio.shield(task)
        return tokens.access

    def forget(self, connection_id: str) -> None:
        """It was changed or is gone."""
        self._kept.pop(connection_id, None)

    def forget_all(self) -> None:
        """All may have been changed."""
        self._kept.clear()

    @property
    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _done(self, connection_id: str, task: asyncio.Task[Tokens]) -> None:
        self._under_way.pop(connection_id, None)
        if not task.cancelled():
            # Those who waited have it; when none is left, nobody else would ever look.
            task.exception()

    def _keep(self, connection: Connected, tokens: Tokens) -> Tokens:
        self._kept[connection.id] = connection.version, tokens
        if len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]
        return tokens

    async def _renewed(self, connection: Connected, refused: str) -> Tokens:
        credentials = connection.credentials
        assert isinstance(credentials, OAuth2)  # noqa: S101  # nobody else has tokens
        for _ in range(int(2 * _CLAIM_S / _LOOK_AGAIN_S)):
            stored = await self._stored(connection)
            if stored is not None and stored.access != refused and stored.is_fresh(self._now):
                return self._keep(connection, stored)
            if stored is None and isinstance(credentials, AuthorizationCode):
                raise ConnectionNotReadyError(connection.name)
            async with self._database.write(connection.tenant_id) as session:
                is_ours = await claim_renewal(session, connection.id, self._clock.now(), _CLAIM_S)
            if is_ours:
                break
            await asyncio.sleep(_LOOK_AGAIN_S)
        else:
            raise TokenEndpointError("another node is getting a token, and does not end")
        # Once more: another node may have been done between our look and our claim.
        stored = await self._stored(connection)
        if stored is not None and stored.access != refused and stored.is_fresh(self._now):
            await self._release(connection, None)
            return self._keep(connection, stored)
        return await self._fetched(connection, credentials, stored, refused)

    async def _fetched(self, connection: Connected, credentials: OAuth2, stored: Tokens | None, refused: str) -> Tokens:
        broken: str | None = None
        is_stored = False
        try:
            secrets = await self.secrets(connection)
            if not isinstance(credentials, AuthorizationCode):
                tokens = await self._client.by_client(connection.who, credentials, secrets, self._now)
            elif stored is None or not stored.refresh:
                broken = "its token is over, and the OAuth2 server gave none to renew it with"
                raise ConnectionBrokenError(connection.name, broken)
            else:
                tokens = await self._client.by_refresh(connection.who, credentials, secrets, self._now, stored.refresh)
            # The claim ends with it, and not before: the old refresh token is spent.
            await self.store(connection, tokens)
            is_stored = True
        except TokenEndpointError as error:
            if error.error in _NO_TOKEN_MATTERS:
                broken = f"the OAuth2 server answers {error.error}"
                raise ConnectionBrokenError(connection.name, broken) from error
            # It is only renewed ahead of its end, and may do until the server is itself again.
            if stored is not None and stored.access != refused and self._now < stored.expires_at:
                _log.warning("token-not-renewed", connection=connection.id, error=str(error))
                return stored
            raise
        finally:
            if not is_stored:
                await self._release(connection, broken)
        return self._keep(connection, tokens)

    async def store(self, connection: Connected, tokens: Tokens) -> None:
        """Keep new tokens of a connection that was not changed meanwhile."""
        async with self._database.write(connection.tenant_id) as session:
            row = await session.get(ConnectionRow, connection.id)
            if row is None or row.version != connection.version:
                raise ConnectionChangedError(connection.name)
            row.renewing_until = None
            row.broken = None
            await self.put(session, connection, tokens)

    async def put(self, session: AsyncSession, connection: Connected, tokens: Tokens) -> None:
        """Keep tokens, in the caller's transaction."""
        text = msgspec.json.encode(tokens).decode()
        values = {tokens_name(connection.name): text}
        await set_secrets(session, connection.tenant_id, connection.installation_id, connection.slug, values)

    async def _release(self, connection: Connected, broken: str | None) -> None:
        values: dict[str, str | None] = {"renewing_until": None}
        if broken is not None:
            values["broken"] = broken
        async with self._database.write(connection.tenant_id) as session:
            await session.execute(
                update(ConnectionRow)
                .where(ConnectionRow.id == connection.id, ConnectionRow.version == connection.version)
                .values(**values)
                .execution_options(synchronize_session=False)
            )
            if broken is not None:
                await changed(session, connection.installation_id, connection.id)

    async def _stored(self, connection: Connected) -> Tokens | None:
        name = tokens_name(connection.name)
        async with self._database.read(connection.tenant_id) as session:
            sealed = await sealed_values(session, connection.installation_id, [name])
        if name not in sealed:
            return None
        text = await self._envelope.open(sealed[name], connection.tenant_id, connection.slug, name)
        return msgspec.json.decode(text, type=Tokens)

    async def _opened(self, connection: Connected, sealed: dict[str, str]) -> Stored:
        name = secret_name(connection.name)
        if name not in sealed:
            return {}
        return decoded(await self._envelope.open(sealed[name], connection.tenant_id, connection.slug, name))
