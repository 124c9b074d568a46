"""Errors of extension points."""

from __future__ import annotations

from jackfield.errors import ConflictError, ForbiddenError, InvalidError, MissingError, UnavailableError
from jackfield.http import TooManyRequestsError

__all__ = [
    "ArgumentsInvalidError",
    "CallCycleError",
    "CallDeadlineError",
    "CallDepthError",
    "CallRefusedError",
    "CallsUnavailableError",
    "ContextInvalidError",
    "DependencyMismatchError",
    "DependencyNotDeclaredError",
    "EventUnknownError",
    "FilterAbortedError",
    "FilterUnknownError",
    "FunctionNotPublicError",
    "FunctionUnknownError",
    "OverloadedError",
    "PayloadInvalidError",
    "PluginInactiveError",
    "QueryTooLargeError",
    "RateLimitedError",
    "RoleTooLowError",
    "RouteUnknownError",
    "SlotUnknownError",
    "TenantMissingError",
    "VetoedError",
]


class PluginInactiveError(MissingError):
    """The tenant has no active installation of this name."""

    code = "plugin-not-active"
    default_hint = "Install and activate it first; `GET /api/plugins` lists what is installed."


class FunctionUnknownError(MissingError):
    """The plugin has no function of this name."""

    code = "function-unknown"
    default_hint = "`GET /api/functions` lists what can be called."


class RouteUnknownError(MissingError):
    """The plugin has no route for this method and path."""

    code = "route-unknown"


class EventUnknownError(MissingError):
    """The host's surface declares no such event."""

    code = "event-unknown"
    default_hint = "`GET /api/surface` lists events."


class FilterUnknownError(MissingError):
    """The host's surface declares no such filter hook."""

    code = "filter-unknown"
    default_hint = "`GET /api/surface` lists filter hooks."


class SlotUnknownError(MissingError):
    """The host's surface declares no such slot."""

    code = "slot-unknown"
    default_hint = "`GET /api/surface` lists slots."


class ArgumentsInvalidError(InvalidError):
    """The arguments do not fit the function's parameters; `data["errors"]` lists path and message of each."""

    code = "arguments-invalid"
    default_hint = "See the function's parameters in `GET /api/functions`."


class PayloadInvalidError(InvalidError):
    """A payload does not fit the schema of its hook point or event."""

    code = "payload-invalid"
    default_hint = "See the schema in `GET /api/surface`."


class RoleTooLowError(ForbiddenError):
    """The handler asks for a higher role than the caller's."""

    code = "role-too-low"


class TenantMissingError(InvalidError):
    """A public route has to be told which tenant's installation is meant."""

    code = "tenant-missing"
    default_hint = "Add `?tenant=ID`, or send a token."


class QueryTooLargeError(InvalidError):
    """The query string of a request to a plugin's route is over the limit."""

    code = "query-too-large"
    default_hint = "Send what is large in the body."


class RateLimitedError(TooManyRequestsError):
    """More requests than the route allows in a minute."""

    code = "rate-limited"


class CallRefusedError(UnavailableError):
    """The call never ran, and may later; `error.code` says what kept it out."""

    code = "call-refused"


class ContextInvalidError(InvalidError):
    """What a call is said to take part in cannot be handed along."""

    code = "context-invalid"
    default_hint = 'Send {"workflow": {"id": …, "run_id": …, "step": 0}, "shared": {…}}, small and plain.'


class DependencyNotDeclaredError(ForbiddenError):
    """A plugin calls another one without saying in its manifest that it depends on it."""

    code = "dependency-not-declared"
    default_hint = "Name it in the plugin's `requires`, with a version range."


class DependencyMismatchError(ConflictError):
    """The other plugin is at work in a version that was not asked for."""

    code = "dependency-mismatch"
    default_hint = "Update one of the two plugins."


class FunctionNotPublicError(ForbiddenError):
    """The function is not meant for other plugins."""

    code = "function-not-public"
    default_hint = "Its author would have to declare it with `public=True`."


class CallCycleError(ConflictError):
    """A plugin would be called within a call that it made itself."""

    code = "call-cycle"
    default_hint = "Send an event instead of calling back."


class CallDepthError(ConflictError):
    """Too many plugins call one another, one within the other."""

    code = "call-depth-exceeded"
    default_hint = "Send an event instead of calling on."


class CallDeadlineError(UnavailableError):
    """The caller's own time is nearly over."""

    code = "deadline-exceeded"
    default_hint = "Do less in one call."


class CallsUnavailableError(UnavailableError):
    """The node does not call functions: it is only starting."""

    code = "calls-unavailable"


class OverloadedError(UnavailableError):
    """No isolate was free in time."""

    code = "overloaded"


class VetoedError(ConflictError):
    """A plugin says that the host must not go on. The message is meant for the acting user.

    Attributes:
        plugin: Slug of the plugin.
    """

    code = "vetoed"
    default_hint = "Change what the plugin objects to."

    def __init__(self, message: str, *, plugin: str, hint: str = "") -> None:
        super().__init__(message, hint=hint or None, plugin=plugin)
        self.plugin = plugin


class FilterAbortedError(UnavailableError):
    """A filter that the host may not go on without has failed."""

    code = "filter-aborted"
    default_hint = "Look at the plugin's errors, or deactivate it."

    def __init__(self, message: str, *, plugin: str, retry_after_s: float | None = None) -> None:
        super().__init__(message, plugin=plugin)
        if retry_after_s is not None:
            self.data["retry_after_s"] = retry_after_s
        self.plugin = plugin
