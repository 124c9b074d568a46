"""What a plugin may raise, and what each error means to the platform.

Anything else that leaves a handler is a defect of the plugin: it is recorded with its trace and answered as
`plugin-error`.
"""

from __future__ import annotations

__all__ = [
    "CapabilityError",
    "ManifestError",
    "PackageError",
    "PermissionDeniedError",
    "PluginCallError",
    "PluginError",
    "RetryLaterError",
    "UserError",
    "ValidationError",
    "VetoError",
    "WireError",
]


class PluginError(Exception):
    """Base of all errors that the SDK defines.

    Attributes:
        code: Stable kebab-case identifier.
        hint: What the reader can do about it; may be empty.
    """

    code = "plugin-error"
    hint = ""

    def __init__(self, message: str, *, code: str | None = None, hint: str = "") -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.hint = hint


class UserError(PluginError):
    """The caller asked for something that cannot be done. They are shown the message; nothing is retried."""

    code = "user-error"


class ValidationError(UserError):
    """A value does not fit; raised by `ctx.validate`.

    Attributes:
        problems: A sentence each, the path first, as `items[0].price: -1 is less than the minimum of 0`.
    """

    code = "validation-failed"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems[:5]))
        self.problems = problems


class VetoError(PluginError):
    """Raised in a filter: the host must not go on. The message is shown to the acting user."""

    code = "vetoed"


class RetryLaterError(PluginError):
    """Raised in an event handler: this delivery should be tried again, though nothing is wrong with the plugin.

    Attributes:
        after_s: Not before so many seconds; None leaves it to the platform.
    """

    code = "retry-later"
    after_s: float | None = None

    def __init__(self, message: str, *, after_s: float | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.after_s = after_s


class CapabilityError(PluginError):
    """The platform refused or could not do what a capability was asked for; `code` says why.

    Codes that a plugin may want to act on: `unique-violation`, `row-not-found`.
    """

    code = "capability-error"


class PermissionDeniedError(CapabilityError):
    """The tenant has not granted the permission that the call needs."""

    code = "permission-denied"


class PluginCallError(CapabilityError):
    """A function of another plugin did not return.

    Attributes:
        plugin, function: What was called.
        kind: `user`: it says so on purpose, its message is for people; `plugin`: it failed; `platform`: it never ran,
            `code` says why.
        retry_after_s: When to try again, if that is known.
    """

    code = "plugin-call-failed"

    def __init__(
        self,
        message: str,
        *,
        plugin: str,
        function: str,
        code: str | None = None,
        hint: str = "",
        kind: str = "platform",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.plugin = plugin
        self.function = function
        self.kind = kind
        self.retry_after_s = retry_after_s


class ManifestError(PluginError):
    """A manifest that cannot be accepted.

    Attributes:
        path: Where in the manifest, as `functions[0].name`.
    """

    code = "manifest-invalid"

    def __init__(self, message: str, *, path: str = "", hint: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message, hint=hint)
        self.path = path


class PackageError(PluginError):
    """A package file that cannot be accepted; `code` names the rule it breaks."""

    code = "package-invalid"


class WireError(PluginError):
    """A message between node and isolate that breaks the protocol; the channel is closed."""

    code = "protocol-violation"
