"""Durable deliveries: an event is committed with the change that it tells of, and reaches each subscriber at least
once.

`outbox.add` takes events; the `Dispatcher` brings them to whom `Subscribers` names, through `Deliver`; `Deliveries` is
the log, with replay.
"""

from __future__ import annotations

from jackfield.jobs import outbox
from jackfield.jobs.attempts import Attempt
from jackfield.jobs.direct import deliver_to
from jackfield.jobs.dispatcher import Dispatcher, DispatchSettings
from jackfield.jobs.doctor import examine
from jackfield.jobs.errors import (
    DeliveryMissingError,
    DeliveryOpenError,
    DeliveryStateError,
    DeliveryTakenError,
    EventNameInvalidError,
    EventPayloadInvalidError,
)
from jackfield.jobs.figures import Counted, delivery_figures
from jackfield.jobs.hastening import LEFT_ALONE, hasten, hasten_in
from jackfield.jobs.interfaces import Deliver, DeliveryResult, DeliverySnapshot, Subscribers, Subscription
from jackfield.jobs.models import Delivery, OutboxEvent
from jackfield.jobs.outcomes import RetryPolicy
from jackfield.jobs.parts import goes_nowhere, latest
from jackfield.jobs.schedules import Declared as DeclaredSchedule
from jackfield.jobs.schedules import Schedules, rest_schedules, sync_schedules
from jackfield.jobs.schemas import DeliveryOut, OperatorDeliveryOut
from jackfield.jobs.selecting import DeliveryFilter
from jackfield.jobs.service import HELD, Deliveries, inventory, purge, release_held, skip_open

__all__ = [
    "HELD",
    "LEFT_ALONE",
    "Attempt",
    "Counted",
    "DeclaredSchedule",
    "Deliver",
    "Deliveries",
    "Delivery",
    "DeliveryFilter",
    "DeliveryMissingError",
    "DeliveryOpenError",
    "DeliveryOut",
    "DeliveryResult",
    "DeliverySnapshot",
    "DeliveryStateError",
    "DeliveryTakenError",
    "DispatchSettings",
    "Dispatcher",
    "EventNameInvalidError",
    "EventPayloadInvalidError",
    "OperatorDeliveryOut",
    "OutboxEvent",
    "RetryPolicy",
    "Schedules",
    "Subscribers",
    "Subscription",
    "deliver_to",
    "delivery_figures",
    "examine",
    "goes_nowhere",
    "hasten",
    "hasten_in",
    "inventory",
    "latest",
    "outbox",
    "purge",
    "release_held",
    "rest_schedules",
    "skip_open",
    "sync_schedules",
]
