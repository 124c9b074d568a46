"""The extension surface: what a host opens to plugins. The host declares it once and hands it to `Platform`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Integer, Table

from jackfield_sdk.hooks import ChannelMessage, ChannelSent, TelegramCallback, TelegramMessage
from jackfield_sdk.hooks.catalogue import STANDARD
from jackfield_sdk.schema import json_schema_of

__all__ = ["CHANNEL_EVENTS", "PLUGIN_EVENTS", "Access", "Entity", "Event", "FilterHook", "Slot", "Surface"]


@dataclass(frozen=True)
class FilterHook:
    """A synchronous hook point.

    Args:
        name: `noun.verb`, as `booking.beforeCreate`.
        payload: Type of the value that passes through (a struct, a dataclass), or None for any data.
    """

    name: str
    payload: Any = None
    description: str = ""


@dataclass(frozen=True)
class Event:
    """A durable fact that plugins may subscribe to."""

    name: str
    payload: Any = None
    description: str = ""


CHANNEL_EVENTS = (
    Event("channel.message", ChannelMessage, "Somebody wrote on a channel, of whatever kind."),
    Event("channel.sent", ChannelSent, "A plugin has written on a channel."),
    Event("telegram.message", TelegramMessage, "A message to a bot of Telegram's."),
    Event("telegram.callback", TelegramCallback, "A button below a message of a bot's was pressed."),
)
"""Of the platform's own, on every surface: what happens on a tenant's channels."""

PLUGIN_EVENTS = tuple(
    Event(hook.name, hook.payload, hook.description) for hook in STANDARD.values() if hook.source == "platform"
)
"""Of the platform's own, on every surface: what becomes of a tenant's plugins."""


@dataclass(frozen=True)
class Slot:
    """A place in the host's UI for widgets; `context` is the type of what a widget there is given."""

    name: str
    context: Any = None
    description: str = ""


@dataclass(frozen=True)
class Access:
    """What members of a role may do with an entity through plugins.

    Args:
        read: True, False, or the rows that they may see: a list of conditions, as `[["owner", "eq", "$user.id"]]`. It
            names fields that plugins may see; values may be `$user.id`, `$user.role` and `$tenant.id`.
        write: The same for adding, changing and deleting.
    """

    read: bool | Sequence[Any] = True
    write: bool | Sequence[Any] = True


@dataclass(frozen=True)
class Entity:
    """A kind of thing in the host's database that plugins may read or write, by grant.

    Args:
        table: The host's own table, in the platform's database.
        tenant_column: Column that holds the tenant's id. Every statement is narrowed by it.
        key: Primary key column.
        readable: Columns that plugins may see.
        writable: Columns that plugins may set; empty means the entity is read-only for plugins.
        references: Column → entity whose key it holds. Foreign keys to tables of the surface are found by themselves.
        version_column: Whole number that every change by a plugin counts up; the host counts it up as well.
        fields: Column → what it means, for authors.
        access: Role → what its members may do through plugins. `owner` and `admin` may do everything unless they are
            named; any other role is treated as `member`, who may do everything unless it is named.
    """

    name: str
    table: Table
    readable: tuple[str, ...]
    writable: tuple[str, ...] = ()
    tenant_column: str = "tenant_id"
    key: str = "id"
    description: str = ""
    references: Mapping[str, str] = field(default_factory=dict[str, str])
    version_column: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict[str, str])
    access: Mapping[str, Access] = field(default_factory=dict[str, Access])

    def __post_init__(self) -> None:
        columns = set(self.table.columns.keys())
        version = () if self.version_column is None else (self.version_column,)
        named = (*self.readable, *self.writable, self.tenant_column, self.key, *self.references, *self.fields, *version)
        for column in named:
            if column not in columns:
                raise ValueError(f"entity {self.name}: table {self.table.name} has no column {column}")
        if self.tenant_column in self.writable or self.key in self.writable:
            raise ValueError(f"entity {self.name}: the tenant and the key are never writable")
        if self.version_column is not None and (
            self.version_column in self.writable
            or not isinstance(self.table.columns[self.version_column].type, Integer)
        ):
            raise ValueError(f"entity {self.name}: {self.version_column} must be a whole number that nobody sets")


@dataclass(frozen=True)
class Surface:
    """All of it. Names are unique within their kind."""

    filters: Iterable[FilterHook] = ()
    events: Iterable[Event] = ()
    entities: Iterable[Entity] = ()
    slots: Iterable[Slot] = ()
    title: str = "Host"
    filter_index: Mapping[str, FilterHook] = field(init=False)
    event_index: Mapping[str, Event] = field(init=False)
    entity_index: Mapping[str, Entity] = field(init=False)
    slot_index: Mapping[str, Slot] = field(init=False)

    def __post_init__(self) -> None:
        for name, items in (
            ("filter_index", self.filters), ("event_index", (*self.events, *CHANNEL_EVENTS, *PLUGIN_EVENTS)),
            ("entity_index", self.entities), ("slot_index", self.slots),
        ):  # fmt: skip
            index: dict[str, Any] = {}
            for item in items:
                if item.name in index:
                    raise ValueError(f"{item.name} is declared twice")
                index[item.name] = item
            object.__setattr__(self, name, index)
        for entity in self.entity_index.values():
            for column, target in entity.references.items():
                if target not in self.entity_index:
                    raise ValueError(f"entity {entity.name}: {column} refers to {target}, which is no entity")

    def describe(self) -> dict[str, Any]:
        """Everything as plain data, with JSON Schemas, for the API and the docs."""
        return {
            "title": self.title,
            "filters": [_hook(item, item.payload) for item in self.filter_index.values()],
            "events": [_hook(item, item.payload) for item in self.event_index.values()],
            "slots": [_hook(item, item.context) for item in self.slot_index.values()],
            "entities": [
                {
                    "name": entity.name, "description": entity.description, "key": entity.key,
                    "readable": list(entity.readable), "writable": list(entity.writable),
                    "references": dict(entity.references), "version_column": entity.version_column,
                    "fields": dict(entity.fields),
                }
                for entity in self.entity_index.values()
            ],
        }  # fmt: skip


def _hook(item: Any, payload: Any) -> dict[str, Any]:
    return {
        "name": item.name,
        "description": item.description,
        "schema": {} if payload is None else json_schema_of(payload, path=item.name),
    }
