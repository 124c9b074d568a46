"""Webhooks, in and out.

In: `Addresses` are where they come in, `verification` says whether they are genuine, `Intake` makes one delivery of
each. Out: `Endpoints` are where a tenant's events go, signed as Standard Webhooks has it, by deliveries of `jobs`.
"""

from __future__ import annotations

from jackfield.webhooks.addresses import Address, Addresses, ensure_addresses, inventory, purge
from jackfield.webhooks.endpoints import router
from jackfield.webhooks.errors import (
    AddressUnknownError,
    EndpointInactiveError,
    EndpointLimitError,
    EndpointMissingError,
    EventPatternError,
    ReceiverInactiveError,
    WebhookRefusedError,
    WebhooksTooManyError,
    WebhookUnknownError,
    WebhookUrlError,
)
from jackfield.webhooks.housekeeping import Housekeeping
from jackfield.webhooks.intake import EVENT_PREFIX, Intake, Taken
from jackfield.webhooks.interfaces import Sealer
from jackfield.webhooks.rates import Buckets
from jackfield.webhooks.schemas import RotateIn
from jackfield.webhooks.sending import Sender, Sent
from jackfield.webhooks.service import ENDPOINTS, ID_PREFIX, Endpoints
from jackfield.webhooks.signing import signature
from jackfield.webhooks.verification import candidates, receipt_key, refusal

__all__ = [
    "ENDPOINTS",
    "EVENT_PREFIX",
    "ID_PREFIX",
    "Address",
    "AddressUnknownError",
    "Addresses",
    "Buckets",
    "EndpointInactiveError",
    "EndpointLimitError",
    "EndpointMissingError",
    "Endpoints",
    "EventPatternError",
    "Housekeeping",
    "Intake",
    "ReceiverInactiveError",
    "RotateIn",
    "Sealer",
    "Sender",
    "Sent",
    "Taken",
    "WebhookRefusedError",
    "WebhookUnknownError",
    "WebhookUrlError",
    "WebhooksTooManyError",
    "candidates",
    "ensure_addresses",
    "inventory",
    "purge",
    "receipt_key",
    "refusal",
    "router",
    "signature",
]
