"""Accounts elsewhere that an admin of the tenant has connected for the plugin."""

from __future__ import annotations

from typing import Any

from jackfield_sdk.capabilities.host import Host

__all__ = ["Connection", "Connections"]


class Connection:
    """One of the connections that the plugin declares."""

    __slots__ = ("_handle", "_host", "name")

    def __init__(self, host: Host, name: str) -> None:
        self._host = host
        self._handle: str | None = None
        self.name = name

    @property
    def handle(self) -> str:
        """A text that stands for the credential in requests to the connection's hosts.

        For OAuth2 it stands for an access token, which the platform keeps fresh; for `api-key` for the key, for
        `bearer` for the token, for `basic` for the password. It may stand wherever `ctx.secrets.ref` may.

        Raises:
            PermissionDeniedError: `connections:NAME` is not granted.
            CapabilityError: `connection-not-declared`.
        """
        handle = self._handle
        if handle is None:
            handle = self._handle = str(self._host.call("connections", "ref", {"name": self.name}))
        return handle

    @property
    def headers(self) -> dict[str, str]:
        """`Authorization` with the handle as the bearer, for OAuth2 and `bearer`."""
        return {"Authorization": f"Bearer {self.handle}"}

    @property
    def username(self) -> str:
        """The user name, of a connection of the kind `basic`; empty for others."""
        return self._state()["username"]

    @property
    def state(self) -> str:
        """`ready`; `missing` until an admin connects it; `unauthorized` until the account's owner agrees; `broken` when
        the other side does not accept it any more."""
        return self._state()["state"]

    @property
    def is_ready(self) -> bool:
        """Whether requests can be made with it."""
        return self.state == "ready"

    def _state(self) -> dict[str, Any]:
        return self._host.call("connections", "get", {"name": self.name})


class Connections:
    """`ctx.connections`: by name, as `ctx.connections["calendar"]`."""

    __slots__ = ("_host", "_known")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._known: dict[str, Connection] = {}

    def __getitem__(self, name: str) -> Connection:
        if name not in self._known:
            self._known[name] = Connection(self._host, name)
        return self._known[name]
