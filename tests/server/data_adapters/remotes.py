"""What tests of remote adapters share."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from jackfield.data_adapters.transport import Credentials, Transport
from jackfield.egress import Egress, HostPolicy
from jackfield.settings import EgressSettings

__all__ = ["EGRESS", "policy", "transport"]

EGRESS = EgressSettings(allowed=("127.0.0.1",), requests_per_minute=1_000_000)
"""Loopback is allowed, as an operator would allow it."""


def policy(url: str) -> HostPolicy:
    """Everything at a URL's host and port."""
    return HostPolicy("t", "inst_1", (urlsplit(url).netloc,))


def transport(
    adapter: str, egress: Egress, base_url: str, credentials: Credentials | None = None, **more: Any
) -> Transport:
    """To a server on loopback."""
    return Transport(adapter, egress, policy(base_url), base_url, credentials, **more)
