"""Telling OAuth2 servers of tokens that nobody will use any more: durably, and without anybody waiting for it."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import structlog
from sqlalchemy import select, update

from jackfield.capabilities.envelope import Envelope
from jackfield.clock import Clock
from jackfield.connections.credentials import AuthorizationCode, ClientCredentials, read_credentials
from jackfield.connections.models import RevocationRow
from jackfield.connections.oauth2 import TokenClient, Tokens
from jackfield.connections.repository import decoded, secret_name, tokens_name
from jackfield.db import Database
from jackfield.errors import JackfieldError

__all__ = ["Revocations"]

_log = structlog.get_logger("jackfield.connections")
_BATCH = 20
_ATTEMPTS = 8
_FIRST = timedelta(seconds=30)


class Revocations:
    """One per node; `work` is called now and then, and after a removal."""

    def __init__(self, database: Database, envelope: Envelope, client: TokenClient, clock: Clock) -> None:
        self._database = database
        self._envelope = envelope
        self._client = client
        self._clock = clock

    async def work(self) -> int:
        """Revoke what is due; how many were."""
        async with self._database.read(None) as session:
            query = select(RevocationRow).where(RevocationRow.due_at <= self._clock.now())
            rows = list(await session.scalars(query.order_by(RevocationRow.due_at).limit(_BATCH)))
        done = 0
        for row in rows:
            if not await self._claim(row):
                continue
            try:
                await self._revoke(row)
            except JackfieldError as error:
                _log.warning("token-not-revoked", connection=row.name, plugin=row.slug, code=error.code)
                if row.attempts + 1 < _ATTEMPTS:
                    continue
            await self._drop(row)
            done += 1
        return done

    async def _claim(self, row: RevocationRow) -> bool:
        """Put it off, and try it meanwhile: a node that dies has tried it once."""
        later = self._clock.now() + _FIRST * 2**row.attempts
        async with self._database.write(row.tenant_id) as session:
            result = await session.execute(
                update(RevocationRow)
                .where(RevocationRow.id == row.id, RevocationRow.attempts == row.attempts)
                .values(attempts=row.attempts + 1, due_at=later)
                .execution_options(synchronize_session=False)
            )
        return bool(getattr(result, "rowcount", 0))

    async def _revoke(self, row: RevocationRow) -> None:
        credentials = read_credentials(row.credentials)
        if not isinstance(credentials, (AuthorizationCode, ClientCredentials)) or not credentials.revocation_url:
            return
        text = await self._envelope.open(row.tokens, row.tenant_id, row.slug, tokens_name(row.name))
        secrets: dict[str, str] = {}
        if row.secret is not None:
            secrets = decoded(await self._envelope.open(row.secret, row.tenant_id, row.slug, secret_name(row.name)))
        tokens = msgspec.json.decode(text, type=Tokens)
        # Its installation may be gone; what goes out now is on the tenant's account alone.
        await self._client.revoke((row.tenant_id, "connections"), credentials, secrets, tokens)

    async def _drop(self, row: RevocationRow) -> None:
        async with self._database.write(row.tenant_id) as session:
            found = await session.get(RevocationRow, row.id)
            if found is not None:
                await session.delete(found)
