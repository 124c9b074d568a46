"""What the endpoints read and write."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from jackfield.data_adapters.changes import ChangeFilter, Reverted
from jackfield.data_adapters.interfaces import EntitySchema
from jackfield.data_adapters.models import DataChange

__all__ = ["ChangeOut", "EntityOut", "FieldOut", "RefusedOut", "RevertIn", "RevertedOut"]


class FieldOut(BaseModel):
    """A field of an entity."""

    name: str
    json_schema: dict[str, Any] = Field(description="JSON Schema of a value that is not null")
    nullable: bool
    readable: bool
    writable: bool
    key: bool
    references: str | None = Field(description="Entity whose key it holds")


class EntityOut(BaseModel):
    """A kind of thing that the host opens to plugins."""

    name: str
    description: str
    key: str
    version_field: str | None = Field(description="Field that every change counts up")
    fields: list[FieldOut]

    @classmethod
    def of(cls, schema: EntitySchema) -> EntityOut:
        """From the adapter's own form."""
        fields = [
            FieldOut(
                name=field.name,
                json_schema=dict(field.schema),
                nullable=field.is_nullable,
                readable=field.is_readable,
                writable=field.is_writable,
                key=field.is_key,
                references=field.references,
            )
            for field in schema.fields
        ]
        return cls(
            name=schema.name,
            description=schema.description,
            key=schema.key,
            version_field=schema.version_field,
            fields=fields,
        )


class ChangeOut(BaseModel):
    """One entity that a plugin created, changed or deleted."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    at: datetime
    slug: str = Field(description="The plugin", examples=["loyalty-points"])
    installation_id: str
    invocation_id: str = Field(description="The call; empty for a revert")
    user_id: str | None = Field(description="The member on whose behalf, or who asked for a revert")
    entity: str = Field(examples=["customers"])
    key: str
    operation: Literal["create", "update", "delete"]
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    reverts: int | None = Field(description="The change that this one took back")
    reverted_by: int | None = Field(description="The change that took this one back")

    @classmethod
    def of(cls, change: DataChange) -> ChangeOut:
        """From the table's row."""
        return cls.model_validate(change)


class RevertIn(BaseModel):
    """Which changes are to be taken back: those that meet all that is said."""

    model_config = ConfigDict(extra="forbid")

    slug: str | None = Field(default=None, max_length=128, description="Of this plugin")
    invocation_id: str | None = Field(default=None, max_length=64, description="Of this call")
    user_id: str | None = Field(default=None, max_length=255, description="On behalf of this member")
    entity: str | None = Field(default=None, max_length=96)
    key: str | None = Field(default=None, max_length=255)
    since: AwareDatetime | None = Field(default=None, description="From this moment on")
    until: AwareDatetime | None = Field(default=None, description="Up to before this moment")
    before: int | None = Field(default=None, ge=1, le=2**63 - 1, description="`next_before` of the answer before")

    @model_validator(mode="after")
    def _says_whose(self) -> RevertIn:
        if self.invocation_id is None and self.slug is None and self.user_id is None:
            raise ValueError("one of invocation_id, slug and user_id has to say whose changes")
        return self

    @property
    def filter(self) -> ChangeFilter:
        """In the service's form."""
        return ChangeFilter(**self.model_dump())


class RefusedOut(BaseModel):
    """A change that stays."""

    id: int
    entity: str
    key: str
    code: str = Field(examples=["change-overtaken"])
    message: str


class RevertedOut(BaseModel):
    """What became of many."""

    reverted: list[ChangeOut] = Field(description="The changes that took others back")
    refused: list[RefusedOut]
    next_before: int | None = Field(description="When there are more than one request takes: ask again with it")

    @classmethod
    def of(cls, result: Reverted) -> RevertedOut:
        """From the service's form."""
        refused = [
            RefusedOut(
                id=item.change.id,
                entity=item.change.entity,
                key=item.change.key,
                code=item.error.code,
                message=str(item.error),
            )
            for item in result.refused
        ]
        return cls(
            reverted=[ChangeOut.of(change) for change in result.changes],
            refused=refused,
            next_before=result.next_before,
        )
