"""What goes wrong with data that lies elsewhere. Each error names the adapter and says what to put right.

Nothing that the other side wrote is in a message: it could hold a credential, or what the plugin may not see. `detail`
has it, shortened, for the admin who tests the connection.
"""

from __future__ import annotations

from typing import Literal

from jackfield.errors import InvalidError, UnavailableError

__all__ = [
    "AdapterAnswerError",
    "AdapterCannotError",
    "AdapterCredentialsError",
    "AdapterError",
    "AdapterMappingError",
    "AdapterMissingFieldError",
    "AdapterRedirectError",
    "AdapterRefusedError",
    "AdapterStatusError",
    "AdapterTimeoutError",
    "AdapterTooLargeError",
    "AdapterTooMuchError",
    "AdapterUnreachableError",
    "Step",
]

Step = Literal["settings", "dns", "connection", "tls", "time", "status", "credentials", "json", "shape", "columns"]
"""How far a request came."""

_DETAIL_CHARS = 300


class AdapterError(UnavailableError):
    """Data that lies elsewhere cannot be had now.

    Attributes:
        adapter: Its name, as `postgrest`.
        step: Where it went wrong.
        detail: More, for the admin's eyes.
    """

    code = "adapter-failed"
    step: Step = "status"

    def __init__(self, adapter: str, text: str, *, detail: str = "", step: Step | None = None) -> None:
        super().__init__(f"{adapter}: {text}", adapter=adapter)
        self.adapter = adapter
        self.detail = detail[:_DETAIL_CHARS]
        if step is not None:
            self.step = step


class AdapterUnreachableError(AdapterError):
    """Nobody answers there."""

    code = "adapter-unreachable"
    default_hint = "Look at the address in the connection's settings, and whether the server runs."
    step: Step = "connection"


class AdapterTimeoutError(AdapterError):
    """It took too long."""

    code = "adapter-timeout"
    default_hint = "Ask for less at once; if it stays, the server that the connection leads to is overloaded."
    step: Step = "time"


class AdapterCredentialsError(AdapterError):
    """The other side does not accept the connection's credentials."""

    code = "adapter-credentials-refused"
    default_hint = "An admin of the tenant enters the connection's credentials again, or reconnects."
    step: Step = "credentials"


class AdapterStatusError(AdapterError):
    """The other side answered with an error."""

    code = "adapter-status"
    default_hint = "Try again; if it stays, look at the log of the server that the connection leads to."
    step: Step = "status"


class AdapterRedirectError(AdapterError):
    """The other side sends us elsewhere, where our credentials have no business."""

    code = "adapter-redirected"
    default_hint = "Enter the final address in the connection's settings."
    step: Step = "status"


class AdapterAnswerError(AdapterError):
    """The answer is not what the mapping says."""

    code = "adapter-answer-invalid"
    default_hint = "Look at the address and the mapping in the connection's settings; a web page is no API."
    step: Step = "json"


class AdapterMissingFieldError(AdapterAnswerError):
    """The answer lacks a field that the mapping names."""

    code = "adapter-field-missing"
    default_hint = "Correct the field's `at` in the mapping, or mark the field `optional`."
    step: Step = "columns"


class AdapterTooLargeError(AdapterError):
    """The answer has more bytes than are taken."""

    code = "adapter-answer-too-large"
    default_hint = "Ask for fewer rows at once, or set a smaller page in the mapping."
    step: Step = "shape"


class AdapterCannotError(InvalidError):
    """The other side offers no such operation, or the mapping does not say how to ask for it."""

    code = "adapter-cannot"
    default_hint = "`ctx.data[…].schema()` says what it can do; an admin can extend the connection's mapping."

    def __init__(self, adapter: str, text: str) -> None:
        super().__init__(f"{adapter}: {text}", adapter=adapter)


class AdapterTooMuchError(InvalidError):
    """The question cannot be asked there, and there are too many rows to look through here."""

    code = "adapter-scan-too-large"
    default_hint = "Add a condition that the other side can answer, or map one: `filters` of the entity's `list`."

    def __init__(self, adapter: str, entity: str, limit: int) -> None:
        super().__init__(
            f"{adapter}: `{entity}` has more than {limit} rows to look through for this", adapter=adapter, entity=entity
        )


class AdapterRefusedError(InvalidError):
    """The other side refuses the values."""

    code = "adapter-refused"
    default_hint = "A value breaks a rule of the server that the connection leads to."

    def __init__(self, adapter: str, text: str, *, detail: str = "") -> None:
        super().__init__(f"{adapter}: {text}", adapter=adapter)
        self.adapter, self.detail = adapter, detail[:_DETAIL_CHARS]


class AdapterMappingError(InvalidError):
    """The settings of a connection cannot be used."""

    code = "adapter-mapping-invalid"
    default_hint = "`docs/how-to/connections.md` shows mappings that work."
