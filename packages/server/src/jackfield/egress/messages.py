"""What goes out and what comes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Headers", "OutboundRequest", "OutboundResponse", "Payer"]

Headers = tuple[tuple[str, str], ...]
"""Names and values in order; a name may come more than once. Names are compared without regard to case."""


class Payer(Protocol):
    """Whose bytes are counted; the tally of a call is one."""

    egress_bytes: int
    """Sent and received, headers included, as they were on the wire within TLS."""


@dataclass(frozen=True, slots=True)
class OutboundRequest:
    """One HTTP request.

    Attributes:
        url: `https://host[:port]/path?query`; `http://` where the policy has it.
        headers: Without `Host`, `Content-Length` and what concerns the connection: those are the platform's.
        timeout_s: For all of it, redirects included; never more than the operator allows. None: as much as that.
        max_response_bytes: Of the body, decompressed; never more than the operator allows. None: as many as that.
        max_redirects: 0 gives the redirect itself as the response.
    """

    method: str
    url: str
    headers: Headers = ()
    body: bytes = field(default=b"", repr=False)
    timeout_s: float | None = None
    max_response_bytes: int | None = None
    max_redirects: int = 5


@dataclass(frozen=True, slots=True)
class OutboundResponse:
    """What came back.

    Attributes:
        url: Where it came from, after redirects.
        headers: Names in lower case. Of a body that was decompressed, without `content-encoding`.
        body: Decompressed.
        sent_bytes, received_bytes: On the wire within TLS, redirects included.
        redirects: How many were followed.
    """

    status: int
    url: str
    headers: Headers
    body: bytes = field(repr=False)
    sent_bytes: int = 0
    received_bytes: int = 0
    redirects: int = 0

    def header(self, name: str) -> str | None:
        """The first value of a header; None when it is not there."""
        name = name.lower()
        return next((value for known, value in self.headers if known == name), None)
