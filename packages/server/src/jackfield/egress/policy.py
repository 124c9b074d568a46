"""Which hosts one installation may reach. Pure.

A pattern is what stands behind `http:` in a permission: `api.example.com`, `*.example.com` (any name below), `*` (any
host), each optionally with a port: `api.example.com:8443`. Without a port it is https on 443, and http on 80 where the
operator lets plain http pass; with one, both schemes on that port.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["HostPolicy", "host_patterns", "permission_for"]

_PREFIX = "http:"


@dataclass(frozen=True, slots=True)
class HostPolicy:
    """What one request may reach, and on whose account.

    Attributes:
        tenant_id, installation_id: Who pays, and whose connections may be used again. No two installations ever share
            a connection. The platform's own requests for a tenant have an installation id that no installation has, as
            `notifications`.
        hosts: Patterns.
    """

    tenant_id: str
    installation_id: str
    hosts: tuple[str, ...]

    def allows(self, scheme: str, host: str, port: int, *, plain_http: bool = False) -> bool:
        """Whether a target is covered.

        Args:
            host: In the one spelling that `egress.urls` gives it.
            plain_http: Whether a pattern without a port covers http on 80.
        """
        return self.covering(scheme, host, port, plain_http=plain_http) is not None

    def covering(self, scheme: str, host: str, port: int, *, plain_http: bool = False) -> str | None:
        """The pattern that covers a target, or None."""
        is_usual = (scheme, port) == ("https", 443) or (plain_http and (scheme, port) == ("http", 80))
        return next((pattern for pattern in self.hosts if _covers(pattern, host, port, is_usual=is_usual)), None)


def host_patterns(grants: Iterable[str]) -> tuple[str, ...]:
    """The host patterns among an installation's grants."""
    return tuple(sorted(grant[len(_PREFIX) :] for grant in grants if grant.startswith(_PREFIX)))


def permission_for(scheme: str, host: str, port: int) -> str:
    """The least permission that covers a target."""
    return f"{_PREFIX}{host}" if (scheme, port) == ("https", 443) else f"{_PREFIX}{host}:{port}"


def _covers(pattern: str, host: str, port: int, *, is_usual: bool) -> bool:
    name, _, given = pattern.partition(":")
    name = name.lower()
    if given:
        if given != str(port):
            return False
    elif not is_usual:
        return False
    if name == "*":
        return True
    if name.startswith("*."):
        below = name[1:]
        return "*" not in below and len(host) > len(below) and host.endswith(below)
    return name == host
