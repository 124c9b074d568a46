"""Schedules: a firing is a delivery, and its handler runs like any other."""

from __future__ import annotations

from jackfield.extension_points.delivering import at_work, result_of
from jackfield.invocation import ActiveInstallation, Invocation, Invoker
from jackfield.jobs import DeliveryResult, DeliverySnapshot
from jackfield.jobs.schedules import EVENT_PREFIX
from jackfield.lifecycle import ActiveInstallations
from jackfield.telemetry import bound
from jackfield.tracing import here, incoming, own_trace
from jackfield_sdk import wire
from jackfield_sdk.manifest import Schedule

__all__ = ["ScheduleHandlers"]

_EXECUTION = wire.Execution("schedule")


class ScheduleHandlers:
    """Runs the handlers of schedules that have fired."""

    def __init__(self, active: ActiveInstallations, invoker: Invoker) -> None:
        self._active = active
        self._invoker = invoker

    async def deliver(self, delivery: DeliverySnapshot) -> DeliveryResult:
        """Run one firing's handler."""
        installation = await at_work(self._active, delivery)
        if isinstance(installation, DeliveryResult):
            return installation
        name = delivery.event.removeprefix(EVENT_PREFIX)
        schedule = next((each for each in installation.manifest.schedules if each.name == name), None)
        if schedule is None:
            return DeliveryResult("skipped", "handler-gone", "the installed release has no such schedule")
        # Asked for by somebody, or with spans, it belongs to a trace by now.
        before = incoming.set(here() or own_trace(delivery.event_id))
        try:
            return await self._run(installation, schedule, delivery)
        finally:
            incoming.reset(before)

    async def _run(
        self, installation: ActiveInstallation, schedule: Schedule, delivery: DeliverySnapshot
    ) -> DeliveryResult:
        with bound(plugin=installation.slug):
            outcome = await self._invoker.run(
                Invocation(
                    installation,
                    "schedule",
                    schedule.name,
                    schedule.handler,
                    None,
                    schedule.timeout_ms,
                    delivery=wire.Delivery(delivery.id, delivery.attempt),
                    settling=delivery.settling,
                    execution=_EXECUTION,
                )
            )
        return result_of(outcome)
