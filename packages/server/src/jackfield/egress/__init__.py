"""The one way out of the platform: `ctx.http`, remote data, token calls and webhooks all leave through `Egress`.

A host is looked up once, every address it has is checked, and the connection goes to an address that was. Each redirect
is a new request to all of these checks. Size, time, rate and number are bounded. `docs/decisions/0013-egress.md`.
"""

from __future__ import annotations

from jackfield.egress.errors import (
    AddressRefusedError,
    EgressBusyError,
    EgressError,
    EgressTimeoutError,
    HostNotGrantedError,
    HostUnreachableError,
    RedirectRefusedError,
    RequestRefusedError,
    ResponseRefusedError,
    ResponseTooLargeError,
    SecretRefusedError,
    TooManyRequestsError,
    UrlRefusedError,
)
from jackfield.egress.messages import Headers, OutboundRequest, OutboundResponse, Payer
from jackfield.egress.policy import HostPolicy, host_patterns, permission_for
from jackfield.egress.secrets import InjectedSecret
from jackfield.egress.service import Egress
from jackfield.egress.urls import Target, parse_url

__all__ = [
    "AddressRefusedError",
    "Egress",
    "EgressBusyError",
    "EgressError",
    "EgressTimeoutError",
    "Headers",
    "HostNotGrantedError",
    "HostPolicy",
    "HostUnreachableError",
    "InjectedSecret",
    "OutboundRequest",
    "OutboundResponse",
    "Payer",
    "RedirectRefusedError",
    "RequestRefusedError",
    "ResponseRefusedError",
    "ResponseTooLargeError",
    "SecretRefusedError",
    "Target",
    "TooManyRequestsError",
    "UrlRefusedError",
    "host_patterns",
    "parse_url",
    "permission_for",
]
