"""What egress refuses. The messages reach plugin authors: they tell nothing of the network that the platform is in."""

from __future__ import annotations

from jackfield.errors import ForbiddenError, InvalidError, UnavailableError

__all__ = [
    "AddressRefusedError",
    "EgressBusyError",
    "EgressError",
    "EgressTimeoutError",
    "HostNotGrantedError",
    "HostUnreachableError",
    "RedirectRefusedError",
    "RequestRefusedError",
    "ResponseRefusedError",
    "ResponseTooLargeError",
    "SecretRefusedError",
    "TooManyRequestsError",
    "UrlRefusedError",
]


class UrlRefusedError(InvalidError):
    """A URL that is not plainly one thing to all who read it."""

    code = "url-refused"
    default_hint = "Write `https://host/path`: no user name, no odd spelling of a host or an address."


class RequestRefusedError(InvalidError):
    """A method, header or body that is not sent."""

    code = "request-refused"


class HostNotGrantedError(ForbiddenError):
    """The tenant has not granted the host, or not this port or scheme of it."""

    code = "permission-denied"

    def __init__(self, permission: str) -> None:
        super().__init__(
            f"`{permission}` is not granted",
            hint="Ask for it in the manifest's `permissions`; an admin of the tenant grants it.",
            permission=permission,
        )


class AddressRefusedError(ForbiddenError):
    """The host is, or has among its addresses, one that is not on the public internet."""

    code = "address-refused"
    default_hint = "Only public addresses are reached, unless the operator allows a host: JACKFIELD_EGRESS_ALLOWED."

    def __init__(self, host: str) -> None:
        super().__init__(f"`{host}` is not on the public internet", host=host)


class SecretRefusedError(ForbiddenError):
    """A handle of a secret in a request to a host, or in a place, that the secret is not for."""

    code = "secret-refused"
    default_hint = "A handle may stand in a header, the URL, or a JSON or form body, to a host that its secret is for."


class RedirectRefusedError(InvalidError):
    """A redirect that is not followed: too many of them, not granted, not public, or with a body that is not for it."""

    code = "redirect-refused"
    default_hint = "Grant the host that it leads to, or follow it yourself: `follow_redirects=False`."


class ResponseRefusedError(UnavailableError):
    """A response that breaks HTTP, or has more or larger headers than are taken."""

    code = "response-refused"


class ResponseTooLargeError(UnavailableError):
    """A response with more bytes than are taken, counted after decompression."""

    code = "response-too-large"
    default_hint = "Ask for less at once: a page, a range."

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the response has more than {limit_bytes} bytes", limit_bytes=limit_bytes)


class EgressError(UnavailableError):
    """The request could not be done."""

    code = "egress-failed"


class HostUnreachableError(EgressError):
    """The name has no address, nobody answers there, or not as the certificate should be."""

    code = "host-unreachable"


class EgressTimeoutError(EgressError):
    """The time for the request, or for one phase of it, is over."""

    code = "egress-timeout"
    default_hint = "Allow more time, or ask for less at once."


class EgressBusyError(EgressError):
    """Too many requests are under way: of the installation, or of the node."""

    code = "egress-busy"
    default_hint = "Try again in a moment."


class TooManyRequestsError(EgressError):
    """The installation has sent as many requests as it may within a minute."""

    code = "egress-rate-exceeded"
    default_hint = "Send fewer requests, or wait."
