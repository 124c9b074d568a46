"""Webhooks: what comes in at a secret address is verified, becomes a delivery, and is answered; then its handler runs.

The sender waits for the database and for nothing else. A handler that is slow or fails has it again, like any delivery;
so it has no say in the answer.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
import structlog

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.errors import SecretNotSetError, SecretUnreadableError
from jackfield.capabilities.origin import cause_of
from jackfield.clock import Clock, SystemClock
from jackfield.extension_points.delivering import at_work, result_of
from jackfield.extension_points.routes import RouteRequest
from jackfield.invocation import ActiveInstallation, Invocation, Invoker
from jackfield.jobs import DeliveryResult, DeliverySnapshot
from jackfield.lifecycle import ActiveInstallations
from jackfield.opened import opened
from jackfield.settings import WebhookSettings
from jackfield.telemetry import bound
from jackfield.tracing import here
from jackfield.webhooks import (
    EVENT_PREFIX,
    Address,
    Addresses,
    AddressUnknownError,
    Buckets,
    Intake,
    ReceiverInactiveError,
    Taken,
    WebhookRefusedError,
    WebhooksTooManyError,
    candidates,
    receipt_key,
    refusal,
)
from jackfield_sdk import wire
from jackfield_sdk.manifest import Webhook

__all__ = ["SecretValues", "Webhooks", "kept_headers"]

_log = structlog.get_logger("jackfield.extension_points")
_INACTIVE_S = 300
_HEADERS = 64
_HEADER_CHARS = 4_096
_QUERY = 100
_EXECUTION = wire.Execution("channel")
_HIDDEN = re.compile(
    r"authorization|cookie|token|secret|api-?key|password|credential|forwarded|(x-real-ip|via|host|connection|"
    r"content-length|transfer-encoding|te|upgrade|keep-alive|traceparent|tracestate)\Z"
)
"""Headers that a plugin has no business with: credentials, and what concerns the way here."""


class SecretValues(Protocol):
    """Knows secrets of configurations; `capabilities.Secrets` in a node."""

    async def value(self, context: CapabilityContext, name: str) -> str:
        """One of them.

        Raises:
            SecretNotSetError, SecretUnreadableError: There is none.
        """
        ...


class _Stored(msgspec.Struct, frozen=True):
    """What is kept of a request until its handler has had it."""

    method: str
    query: dict[str, str]
    headers: dict[str, str]
    text: str | None = None
    base64: str | None = None


class Webhooks:
    """Takes webhooks in, and runs their handlers."""

    def __init__(
        self,
        active: ActiveInstallations,
        invoker: Invoker,
        addresses: Addresses,
        intake: Intake,
        secrets: SecretValues,
        settings: WebhookSettings | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._active = active
        self._invoker = invoker
        self._addresses = addresses
        self._intake = intake
        self._secrets = secrets
        self.settings = settings or WebhookSettings()
        self._clock = clock or SystemClock()
        self._buckets = Buckets(self.settings.per_minute, self._clock.monotonic)

    async def address(self, token: str) -> Address:
        """Whose an address is, when it takes another one now. Before a body is read.

        Raises:
            AddressUnknownError: It is nobody's.
            WebhooksTooManyError: It has had too many.
        """
        opened(token)
        found = await self._addresses.find(token)
        if found is None:
            raise AddressUnknownError("there is no such address")
        wait_s = self._buckets.take((found.installation_id, found.name))
        if wait_s:
            raise WebhooksTooManyError(
                f"more than {self.settings.per_minute} a minute", retry_after_s=max(1, math.ceil(wait_s))
            )
        return found

    async def receive(self, address: Address, request: RouteRequest) -> Taken:
        """Verify and keep a request; committed when this returns.

        Raises:
            AddressUnknownError: The plugin was removed, or its release has no such webhook any more.
            ReceiverInactiveError: It is not at work. One in quarantine takes webhooks, and has them later.
            WebhookRefusedError: It is not genuine.
        """
        with bound(tenant_id=address.tenant_id, installation_id=address.installation_id):
            installation = await self._receiver(address)
            with bound(plugin=installation.slug):
                return await self._receive(installation, address, request)

    async def _receive(self, installation: ActiveInstallation, address: Address, request: RouteRequest) -> Taken:
        webhook = next((each for each in installation.manifest.webhooks if each.name == address.name), None)
        if webhook is None:
            raise AddressUnknownError("there is no such address")
        why = await self._refusal(installation, webhook, request)
        if why is not None:
            _log.info("webhook-refused", name=webhook.name, why=why)
            await self._intake.refused(address, why)
            raise WebhookRefusedError("this is not signed as it should be")
        key, is_id = receipt_key(webhook.verify, request.headers, request.query, request.body)
        taken = await self._intake.take(
            address, webhook.handler, key, _stored(request), is_id=is_id, cause=cause_of(here())
        )  # fmt: skip
        _log.debug(
            "webhook-taken", name=webhook.name, delivery_id=taken.delivery_id, is_duplicate=taken.is_duplicate
        )  # fmt: skip
        return taken

    async def deliver(self, delivery: DeliverySnapshot) -> DeliveryResult:
        """Hand one webhook to its handler."""
        installation = await at_work(self._active, delivery)
        if isinstance(installation, DeliveryResult):
            return installation
        name = delivery.event.removeprefix(EVENT_PREFIX)
        webhook = next((each for each in installation.manifest.webhooks if each.name == name), None)
        if webhook is None:
            return DeliveryResult("skipped", "handler-gone", "the installed release has no such webhook")
        with bound(plugin=installation.slug):
            outcome = await self._invoker.run(
                Invocation(
                    installation,
                    "webhook",
                    name,
                    webhook.handler,
                    _request(name, delivery.payload),
                    webhook.timeout_ms,
                    delivery=wire.Delivery(delivery.id, delivery.attempt),
                    settling=delivery.settling,
                    execution=_EXECUTION,
                )
            )
        return result_of(outcome)

    async def _receiver(self, address: Address) -> ActiveInstallation:
        plugins = await self._active.get(address.tenant_id)
        id = address.installation_id
        installation = plugins.by_id.get(id) or plugins.held.get(id)
        if installation is None:
            if id in plugins.resting:
                raise ReceiverInactiveError("nobody is there to take it", retry_after_s=_INACTIVE_S)
            raise AddressUnknownError("there is no such address")
        return installation

    async def _refusal(self, installation: ActiveInstallation, webhook: Webhook, request: RouteRequest) -> str | None:
        secrets: tuple[str, ...] = ()
        if webhook.verify != "none" and webhook.secret is not None:
            context = CapabilityContext(
                installation.tenant_id, installation.id, installation.slug, installation.manifest, installation.grants,
                handler=f"webhook {webhook.name}",
            )  # fmt: skip
            try:
                secrets = candidates(await self._secrets.value(context, webhook.secret))
            except SecretNotSetError:
                return "secret-not-set"
            except SecretUnreadableError:
                return "secret-unreadable"
        return refusal(webhook.verify, request.headers, request.body, secrets, self._clock.now(), header=webhook.header)


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers that reach a handler; names in lower case."""
    kept = {
        name: value
        for name, value in headers.items()
        if not _HIDDEN.search(name) and len(name) <= 100 and len(value) <= _HEADER_CHARS
    }
    return dict(sorted(kept.items())[:_HEADERS])


def _stored(request: RouteRequest) -> str:
    """JSON. A body that is text stays readable in the database, and takes a third less."""
    text, encoded = None, None
    try:
        text = request.body.decode()
    except UnicodeDecodeError:
        encoded = base64.b64encode(request.body).decode()
    query = dict(list(request.query.items())[:_QUERY])
    stored = _Stored(request.method, query, kept_headers(request.headers), text, encoded)
    return msgspec.json.encode(stored).decode()


def _request(name: str, payload: Any) -> dict[str, Any]:
    """A `jackfield_sdk.Request`. The path says nothing of the address."""
    stored = msgspec.convert(payload, _Stored)
    body = base64.b64decode(stored.base64) if stored.base64 is not None else (stored.text or "").encode()
    return {
        "method": stored.method, "path": f"/webhooks/{name}", "params": {}, "query": stored.query,
        "headers": stored.headers, "body": body,
    }  # fmt: skip
