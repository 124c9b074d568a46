"""What may stand before the door: each `Admission` is asked before a call and told after it."""

from __future__ import annotations

from typing import Protocol

from jackfield.invocation.models import ActiveInstallation, Invocation, Outcome
from jackfield.settings import LimitSettings
from jackfield_sdk.wire import Failure

__all__ = ["Admission", "LimitSource"]


class Admission(Protocol):
    """Decides whether a call may run now: a quota, a circuit breaker. It must not wait; it is on every call's way."""

    def admit(self, invocation: Invocation) -> Failure | None:
        """Nothing to let it in, or why not; `retry_after_s` says when to come again."""
        ...

    def settle(self, invocation: Invocation, outcome: Outcome) -> None:
        """How a call ended that was let in. Called once for each `admit` that returned nothing."""
        ...


class LimitSource(Protocol):
    """Knows what one call of an installation may use. Asked on every call, so that a change counts from the next."""

    def limits_of(self, installation: ActiveInstallation) -> LimitSettings:
        """The limits in force: the platform's, the manifest's and the operator's taken together."""
        ...
