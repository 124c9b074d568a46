"""Secrets by reference, and in plain text for who asked for that."""

from __future__ import annotations

from jackfield_sdk.capabilities.host import Host

__all__ = ["Secrets"]


class Secrets:
    """`ctx.secrets`: secret fields of the configuration, by their names."""

    __slots__ = ("_host", "_refs")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._refs: dict[str, str] = {}

    def ref(self, name: str) -> str:
        """A handle: a text that stands for the secret in requests, where the broker puts the value in its place.

        It may stand in a header, in the user or password of Basic authentication, in the URL, and in a JSON or form
        body, of a request to a host that the secret is bound to (`Annotated[jf.Secret, jf.Hosts(…)]`). Hand it to a
        library as if it were the key. What comes back has the handle in it wherever the value stood. It is the same
        from call to call, and worth nothing elsewhere; ask for it each time rather than storing it.

        Raises:
            CapabilityError: `secret-not-bound`: the field names no hosts.
        """
        if name not in self._refs:
            self._refs[name] = self._host.call("secrets", "ref", {"name": name})
        return self._refs[name]

    def reveal(self, name: str) -> str:
        """The value in plain text. Of a field that is bound to hosts this takes the permission `secrets:NAME`.

        Raises:
            PermissionDeniedError: It is not granted.
            CapabilityError: `secret-not-set`.
        """
        return self._host.call("secrets", "reveal", {"name": name})
