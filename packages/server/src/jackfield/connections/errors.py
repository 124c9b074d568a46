"""What goes wrong with connections. No message repeats a credential, or what the other side wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jackfield.errors import ConflictError, ForbiddenError, InvalidError, MissingError, UnavailableError

__all__ = [
    "AuthorizationFailedError",
    "AuthorizationInvalidError",
    "ConnectionBrokenError",
    "ConnectionChangedError",
    "ConnectionInvalidError",
    "ConnectionMissingError",
    "ConnectionNotDeclaredError",
    "ConnectionNotReadyError",
    "ConnectionTestFailedError",
    "CredentialsNeededError",
    "TokenEndpointError",
]


class ConnectionNotDeclaredError(MissingError):
    """Neither `data` nor one that the plugin's manifest names."""

    code = "connection-not-declared"
    default_hint = "`data` serves `ctx.data`; the others are declared with `plugin.connection(…)`."

    def __init__(self, slug: str, name: str) -> None:
        super().__init__(f"{slug} declares no connection `{name[:40]}`", connection=name[:40])


class ConnectionMissingError(MissingError):
    """It was not connected yet, or not any more."""

    code = "connection-missing"
    default_hint = "An admin of the tenant connects it in the plugin's settings."

    def __init__(self, name: str) -> None:
        super().__init__(f"`{name}` is not connected", connection=name)


class ConnectionInvalidError(InvalidError):
    """Settings that cannot be used."""

    code = "connection-settings-invalid"
    default_hint = "`docs/how-to/connections.md` shows settings that work."


class CredentialsNeededError(InvalidError):
    """Stored credentials are not sent to an address that they were not entered for."""

    code = "connection-credentials-needed"
    default_hint = "Enter the secret values again together with the new address."

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"to be entered: {', '.join(names)}", fields=list(names))


class ConnectionTestFailedError(InvalidError):
    """The connection was tried and does not work; nothing was saved."""

    code = "connection-test-failed"
    default_hint = "Correct what `report` says and send the settings again."

    def __init__(self, text: str, report: dict[str, Any]) -> None:
        super().__init__(text, report=report)


class ConnectionNotReadyError(UnavailableError):
    """Its owner has not agreed yet."""

    code = "connection-not-authorized"
    default_hint = "An admin of the tenant opens the connection's authorization page: `POST …/authorize`."

    def __init__(self, name: str) -> None:
        super().__init__(f"nobody has agreed to the connection `{name}` yet", connection=name)


class ConnectionBrokenError(UnavailableError):
    """The other side does not accept it any more."""

    code = "connection-broken"
    default_hint = "An admin of the tenant reconnects it; settings and mapping stay."

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"the connection `{name}` is broken: {reason}", connection=name)


class ConnectionChangedError(ConflictError):
    """Somebody else changed it at the same time."""

    code = "connection-changed"
    default_hint = "Look at it again, then send the change again."

    def __init__(self, name: str) -> None:
        super().__init__(f"the connection `{name}` was changed meanwhile", connection=name)


class TokenEndpointError(UnavailableError):
    """The OAuth2 server gives no token.

    Attributes:
        error: The code that it answers with (RFC 6749, 5.2); empty when there is none.
    """

    code = "oauth2-token-refused"
    default_hint = "Look at client id, client secret and token URL in the connection's settings."

    def __init__(self, text: str, error: str = "") -> None:
        super().__init__(text, **({"oauth2_error": error} if error else {}))
        self.error = error


class AuthorizationInvalidError(ForbiddenError):
    """An answer of an OAuth2 server that nobody here waits for: an old one, a second one, or somebody else's."""

    code = "authorization-invalid"
    default_hint = "Begin anew with `POST …/authorize`, and open the address within ten minutes."

    def __init__(self) -> None:
        super().__init__("this authorization is not known, is over, or belongs to somebody else")


class AuthorizationFailedError(InvalidError):
    """The account's owner said no, or the OAuth2 server would not ask them."""

    code = "authorization-failed"

    def __init__(self, error: str) -> None:
        super().__init__(f"the authorization was refused ({error})", oauth2_error=error)
