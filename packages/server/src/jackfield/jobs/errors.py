"""What can be wrong about events and deliveries."""

from __future__ import annotations

from jackfield.errors import ConflictError, InvalidError, MissingError, UnavailableError

__all__ = [
    "CronInvalidError",
    "DeliveryMissingError",
    "DeliveryOpenError",
    "DeliveryStateError",
    "DeliveryTakenError",
    "EventNameInvalidError",
    "EventPayloadInvalidError",
    "EventPayloadUnreadError",
    "ScheduleMissingError",
    "SchedulePausedError",
]


class EventNameInvalidError(InvalidError):
    """Text that cannot name an event."""

    code = "event-name-invalid"
    default_hint = "Use 1 to 128 visible characters without spaces, as `sale.created`."


class EventPayloadInvalidError(InvalidError):
    """A payload that is no plain data, or too large."""

    code = "event-payload-invalid"
    default_hint = "Send what JSON can hold, and the id of a large thing in place of the thing."


class EventPayloadUnreadError(UnavailableError):
    """The database did not give the payload of a delivery that was to begin."""

    code = "event-payload-unread"


class DeliveryMissingError(MissingError):
    """The tenant has no such delivery; finished ones are dropped after a time."""

    code = "delivery-not-found"


class DeliveryOpenError(ConflictError):
    """The delivery has not ended yet."""

    code = "delivery-open"
    default_hint = "Wait until it is done, dead or skipped; then it can be replayed."


class DeliveryStateError(InvalidError):
    """No such state of a delivery."""

    code = "delivery-state-invalid"
    default_hint = "Use pending, running, done, dead or skipped."


class DeliveryTakenError(ConflictError):
    """Another attempt at the delivery has begun, or its plugin is gone: this one may not write any more."""

    code = "delivery-taken"
    default_hint = "Nothing is to be done: the other attempt does it."


class CronInvalidError(InvalidError):
    """A schedule's expression or time zone is none. `data["expression"]` is the expression."""

    code = "cron-invalid"
    default_hint = "Five parts as in cron, `30 8 * * MON-FRI`, and a time zone as `Europe/Vienna`."


class ScheduleMissingError(MissingError):
    """The installation has no such schedule."""

    code = "schedule-not-found"


class SchedulePausedError(ConflictError):
    """The plugin of the schedule is not at work."""

    code = "schedule-inactive"
    default_hint = "Activate the plugin first."
