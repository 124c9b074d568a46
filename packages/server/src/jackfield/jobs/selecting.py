"""Which deliveries are meant: by what is known of them. Of one tenant, whose session says which."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, literal_column

from jackfield.jobs.errors import DeliveryStateError
from jackfield.jobs.models import Delivery

__all__ = ["ENDED", "STATES", "DeliveryFilter"]

STATES = ("pending", "running", "done", "dead", "skipped")
ENDED = ("done", "dead", "skipped")


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """What deliveries have in common; what is None or empty is not asked.

    Attributes:
        ids: Only these.
        installation_ids: Only those to one of these.
        code: The error's.
        since, until: When they were made.
        ended_since, ended_until: When they ended.

    Raises:
        DeliveryStateError: No such state.
    """

    ids: tuple[str, ...] = ()
    installation_ids: tuple[str, ...] | None = None
    state: str | None = None
    event: str | None = None
    handler: str | None = None
    code: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    ended_since: datetime | None = None
    ended_until: datetime | None = None

    def __post_init__(self) -> None:
        if self.state is not None and self.state not in STATES:
            raise DeliveryStateError("There is no such state of a delivery.", states=[*STATES])

    def conditions(self) -> list[ColumnElement[bool]]:
        """For the `where` of a statement."""
        found: list[ColumnElement[bool]] = []
        if self.state is not None:
            # Spelled out, as the partial indexes have it; it is one of ours.
            found.append(Delivery.state == literal_column(f"'{self.state}'"))
            if self.state not in ENDED:
                found.append(Delivery.place.is_not(None))
        for column, value in (
            (Delivery.event, self.event),
            (Delivery.handler, self.handler),
            (Delivery.error_code, self.code),
        ):
            if value is not None:
                found.append(column == value)
        if self.ids:
            found.append(Delivery.id.in_(self.ids))
        if self.installation_ids is not None:
            found.append(Delivery.installation_id.in_(self.installation_ids))
        for column, first, last in (
            (Delivery.created_at, self.since, self.until),
            (Delivery.finished_at, self.ended_since, self.ended_until),
        ):
            if first is not None:
                found.append(column >= first)
            if last is not None:
                found.append(column <= last)
        return found
