"""Connecting by OAuth2: an admin begins, the account's owner agrees elsewhere, and the answer comes back by a browser.

The browser that comes back carries no token of ours, so the answer must prove that it belongs to who began: by a cookie
that the beginning browser got, or else by a text that it shows, and that the admin enters with their own credentials
(`confirm`). Otherwise an admin of one tenant could send the address to somebody else, and have that one's account
connected to a plugin of their own. A state is good once, for ten minutes.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from jackfield import records
from jackfield.capabilities.envelope import Envelope
from jackfield.clock import Clock
from jackfield.connections.adapters import ConnectionAdapters
from jackfield.connections.credentials import AuthorizationCode
from jackfield.connections.errors import (
    AuthorizationFailedError,
    AuthorizationInvalidError,
    ConnectionInvalidError,
    ConnectionMissingError,
)
from jackfield.connections.interfaces import InstallationSource
from jackfield.connections.models import AuthorizationRow, ConnectionRow
from jackfield.connections.oauth2 import TokenClient, authorization_url
from jackfield.connections.repository import changed, find, retire_tokens
from jackfield.connections.tokens import Connected, TokenKeeper, connected
from jackfield.db import Database

__all__ = ["CALLBACK_PATH", "Authorizations", "Begun", "Returned"]

CALLBACK_PATH = "/api/connections/callback"

_FOR = timedelta(minutes=10)
_ATTEMPTS = 5
_AT_ONCE = 20
"""Authorizations of one connection that are under way."""
_CODE_CHARS = 4_000
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ23456789"
_VERIFIER_BYTES = 48


@dataclass(frozen=True, slots=True)
class Begun:
    """Where to send the account's owner.

    Attributes:
        browser: For a cookie.
    """

    url: str
    browser: str
    expires_in_s: int


@dataclass(frozen=True, slots=True)
class Returned:
    """How an answer ended.

    Attributes:
        confirmation: To be entered by who began; None when it is connected.
    """

    name: str
    confirmation: str | None = None


class Authorizations:
    """One per node.

    Args:
        public_url: Under which browsers reach the platform.
    """

    def __init__(
        self,
        database: Database,
        envelope: Envelope,
        keeper: TokenKeeper,
        client: TokenClient,
        adapters: ConnectionAdapters,
        installations: InstallationSource,
        public_url: str,
        clock: Clock,
    ) -> None:
        self._database = database
        self._envelope = envelope
        self._keeper = keeper
        self._client = client
        self._adapters = adapters
        self._installations = installations
        self._redirect_uri = public_url.rstrip("/") + CALLBACK_PATH
        self._clock = clock

    @property
    def is_secure(self) -> bool:
        """Browsers reach the platform by https."""
        return self._redirect_uri.startswith("https://")

    async def begin(self, tenant_id: str, slug: str, name: str, *, instance: str = "default", subject: str) -> Begun:
        """Where the account's owner agrees.

        Args:
            subject: Who begins it, and alone can end it.

        Raises:
            ConnectionMissingError: Client id and addresses were not entered yet.
            ConnectionInvalidError: It is no connection of this kind.
        """
        target = await self._installations(tenant_id, slug, instance)
        state, browser = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        verifier = secrets.token_urlsafe(_VERIFIER_BYTES)
        now = self._clock.now()
        async with self._database.write(tenant_id) as session:
            row = await find(session, target.id, name)
            if row is None:
                raise ConnectionMissingError(name)
            credentials = connected(row).credentials
            if not isinstance(credentials, AuthorizationCode):
                raise ConnectionInvalidError(f"`{name}` is connected by `{row.kind}`, to which nobody has to agree")
            await session.execute(
                delete(AuthorizationRow)
                .where(AuthorizationRow.connection_id == row.id, AuthorizationRow.expires_at < now)
                .execution_options(synchronize_session=False)
            )
            waiting = list(
                await session.scalars(
                    select(AuthorizationRow)
                    .where(AuthorizationRow.connection_id == row.id)
                    .order_by(AuthorizationRow.expires_at)
                )
            )
            for oldest in waiting[: max(0, len(waiting) - _AT_ONCE + 1)]:
                await session.delete(oldest)
            session.add(
                AuthorizationRow(
                    id=_digest(state), tenant_id=tenant_id, connection_id=row.id, connection_version=row.version,
                    subject=subject, browser=_digest(browser),
                    verifier=await self._envelope.seal(session, tenant_id, slug, _place(row), verifier),
                    redirect_uri=self._redirect_uri, code=None, confirmation=None, attempts=0, expires_at=now + _FOR,
                )
            )  # fmt: skip
        url = authorization_url(credentials, redirect_uri=self._redirect_uri, state=state, verifier=verifier)
        return Begun(url, browser, int(_FOR.total_seconds()))

    async def returned(
        self, state: str, *, code: str | None, error: str | None, issuer: str | None, browser: str | None
    ) -> Returned:
        """The OAuth2 server's answer, as a browser brings it.

        Args:
            browser: The cookie, if it has one.

        Raises:
            AuthorizationInvalidError: Nobody waits for it.
            AuthorizationFailedError: The account's owner said no.
            TokenEndpointError: The code was not taken.
        """
        authorization, connection = await self._waiting(_digest(state))
        credentials = connection.credentials
        assert isinstance(credentials, AuthorizationCode)  # noqa: S101  # `_waiting` has looked
        if credentials.issuer and issuer != credentials.issuer:
            # RFC 9207: another server's answer is not to be taken to this one.
            await self._drop(authorization)
            raise AuthorizationInvalidError
        if error is not None or not code or len(code) > _CODE_CHARS:
            await self._drop(authorization)
            raise AuthorizationFailedError("access_denied" if error == "access_denied" else "error")
        if authorization.code is not None:
            # A second answer to the same state: whatever it is, it is not what the first one was.
            await self._drop(authorization)
            raise AuthorizationInvalidError
        if browser is not None and hmac.compare_digest(_digest(browser), authorization.browser):
            await self._finish(authorization, connection, code)
            return Returned(connection.name)
        confirmation = "".join(secrets.choice(_LETTERS) for _ in range(8))
        async with self._database.write(connection.tenant_id) as session:
            row = await session.get(AuthorizationRow, authorization.id, with_for_update=True)
            if row is None or row.code is not None:
                raise AuthorizationInvalidError
            row.code = await self._envelope.seal(
                session, connection.tenant_id, connection.slug, _place(connection), code
            )
            row.confirmation = _digest(confirmation)
        return Returned(connection.name, f"{confirmation[:4]}-{confirmation[4:]}")

    async def confirm(
        self, tenant_id: str, slug: str, name: str, text: str, *, instance: str = "default", subject: str
    ) -> None:
        """End an authorization whose answer came by another browser.

        Raises:
            AuthorizationInvalidError: This is not what the page showed, or somebody else began it.
        """
        target = await self._installations(tenant_id, slug, instance)
        wanted = _digest(text.strip().upper().replace("-", ""))
        found: AuthorizationRow | None = None
        async with self._database.write(tenant_id) as session:
            row = await find(session, target.id, name)
            if row is None:
                raise ConnectionMissingError(name)
            waiting = await session.scalars(
                select(AuthorizationRow).where(
                    AuthorizationRow.connection_id == row.id, AuthorizationRow.subject == subject,
                    AuthorizationRow.confirmation.is_not(None), AuthorizationRow.expires_at > self._clock.now(),
                )
            )  # fmt: skip
            for authorization in list(waiting):
                if hmac.compare_digest(authorization.confirmation or "", wanted):
                    found = authorization
                    continue
                authorization.attempts += 1
                if authorization.attempts >= _ATTEMPTS:
                    await session.delete(authorization)
        if found is None or found.code is None:
            raise AuthorizationInvalidError
        authorization, connection = await self._waiting(found.id)
        code = await self._envelope.open(found.code, tenant_id, slug, _place(connection))
        await self._finish(authorization, connection, code)

    async def sweep(self) -> int:
        """Remove what nobody came back for; how much that was."""
        async with self._database.write(None) as session:
            result = await session.execute(
                delete(AuthorizationRow)
                .where(AuthorizationRow.expires_at < self._clock.now())
                .execution_options(synchronize_session=False)
            )
        return int(getattr(result, "rowcount", 0))

    async def _waiting(self, id: str) -> tuple[AuthorizationRow, Connected]:
        # Whose it is, the state alone says: the session is one of the platform itself.
        async with self._database.read(None) as session:
            authorization = await session.get(AuthorizationRow, id)
            row = None if authorization is None else await session.get(ConnectionRow, authorization.connection_id)
        if authorization is None or row is None or authorization.expires_at < self._clock.now():
            raise AuthorizationInvalidError
        if row.version != authorization.connection_version or row.tenant_id != authorization.tenant_id:
            # Another client, other addresses: what was begun is not what would be ended.
            raise AuthorizationInvalidError
        connection = connected(row)
        if not isinstance(connection.credentials, AuthorizationCode):
            raise AuthorizationInvalidError
        return authorization, connection

    async def _finish(self, authorization: AuthorizationRow, connection: Connected, code: str) -> None:
        credentials = connection.credentials
        assert isinstance(credentials, AuthorizationCode)  # noqa: S101  # as above
        # Used up before it is used: of two who come at once, one ends here.
        if not await self._drop(authorization):
            raise AuthorizationInvalidError
        verifier = await self._envelope.open(
            authorization.verifier, connection.tenant_id, connection.slug, _place(connection)
        )
        tokens = await self._client.by_code(
            connection.who, credentials, await self._keeper.secrets(connection), self._clock.now().timestamp(),
            code=code, verifier=verifier, redirect_uri=authorization.redirect_uri,
        )  # fmt: skip
        async with self._database.write(connection.tenant_id) as session:
            row = await session.get(ConnectionRow, connection.id)
            if row is None or row.version != connection.version:
                raise AuthorizationInvalidError
            await self._connect(session, row, authorization.subject)
            renewed = connected(row)
            await self._keeper.put(session, renewed, tokens)
            await changed(session, connection.installation_id, connection.id)
        self._keeper.forget(connection.id)
        self._adapters.forget(connection.installation_id)

    async def _connect(self, session: AsyncSession, row: ConnectionRow, subject: str) -> None:
        await retire_tokens(session, row, self._clock.now())
        row.broken = row.renewing_until = None
        row.connected_at = self._clock.now()
        row.version += 1
        await session.flush()
        records.audit(
            session, row.tenant_id, subject, "connection.authorize", f"{row.slug}/{row.name}", None,
            {"kind": row.kind, "client_id": row.credentials.get("client_id")}, plugin=row.slug,
        )  # fmt: skip

    async def _drop(self, authorization: AuthorizationRow) -> bool:
        async with self._database.write(authorization.tenant_id) as session:
            result = await session.execute(
                delete(AuthorizationRow)
                .where(AuthorizationRow.id == authorization.id)
                .execution_options(synchronize_session=False)
            )
        return bool(getattr(result, "rowcount", 0))


def _place(connection: Connected | ConnectionRow) -> str:
    return f"authorization:{connection.id}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
