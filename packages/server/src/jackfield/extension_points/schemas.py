"""Requests and answers of the extension points' endpoints."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from jackfield.extension_points.filters import FilterEnd

__all__ = [
    "EmitAnswer",
    "FilterAnswer",
    "FilterStepAnswer",
    "FunctionAnswer",
    "FunctionCall",
    "FunctionListing",
    "SlotAnswer",
    "SurfaceAnswer",
]


class FunctionCall(BaseModel):
    """Arguments by name."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"arguments": {"customer_id": "c1"}}]})

    arguments: dict[str, Any] = Field(default_factory=dict)
    context: dict[str, Any] | None = Field(
        default=None,
        description="In what the call takes part: `workflow` (id, run_id, step, previous, variables), and `shared`, "
        "which is handed along to all that follows",
        examples=[{"workflow": {"id": "wf_1", "run_id": "run_7", "step": 2, "variables": {"city": "Vienna"}}}],
    )


class FunctionFailure(BaseModel):
    """Why a function did not return."""

    code: str
    message: str
    hint: str = ""


class FunctionCost(BaseModel):
    """What a call cost."""

    duration_ms: float
    cpu_ms: float
    host_calls: int = Field(description="Capability calls")
    invocation_id: str = Field(description="Names the record of this call")
    tokens_used: int = Field(default=0, description="As the plugin counted")
    api_calls: int = Field(default=0, description="As the plugin counted")
    custom: dict[str, int] = Field(default_factory=dict[str, int], description="What else the plugin counted")


class FunctionAnswer(BaseModel):
    """The answer to every call that reached the plugin; its failure is an answer, too."""

    success: bool
    output: Any = None
    error: FunctionFailure | None = None
    metrics: FunctionCost


class FunctionListing(BaseModel):
    """One function that can be called."""

    plugin: str
    name: str
    description: str
    parameters: dict[str, Any] = Field(description="JSON Schema of the arguments")
    returns: dict[str, Any] = Field(description="JSON Schema of the output")
    read_only: bool
    idempotent: bool
    destructive: bool
    role: Literal["member", "admin", "owner"]
    examples: list[dict[str, Any]]


class EmitAnswer(BaseModel):
    """The event is committed."""

    id: str


class FilterStepAnswer(BaseModel):
    """What one handler did."""

    plugin: str
    handler: str
    priority: int
    status: str
    duration_ms: float
    changed: bool
    message: str
    end: FilterEnd = Field(description="`observed`: it only looked")
    code: str = Field(description="Why it failed or vetoed")
    patch: list[dict[str, Any]] = Field(description="What it changed, as a JSON Patch (RFC 6902); in dry runs")
    refused: list[str] = Field(description="What a dry run kept it from doing, as `storage.set`")
    invocation_id: str


class FilterAnswer(BaseModel):
    """The payload after all handlers, and what each did."""

    payload: Any
    is_dry_run: bool
    steps: list[FilterStepAnswer]


class WidgetAnswer(BaseModel):
    """One widget; a failed one carries its error instead of a tree."""

    plugin: str
    title: str
    tree: dict[str, Any] | None = None
    error: FunctionFailure | None = None
    duration_ms: float


class SlotAnswer(BaseModel):
    """All widgets of a slot, in order."""

    slot: str
    widgets: list[WidgetAnswer]


class HookAnswer(BaseModel):
    """A hook point, event or slot, with the JSON Schema of its payload."""

    name: str
    description: str
    schema_: dict[str, Any] = Field(alias="schema")


class EntityAnswer(BaseModel):
    """An entity of the host, and the fields that plugins may see and set."""

    name: str
    description: str
    key: str
    readable: list[str]
    writable: list[str]


class SurfaceAnswer(BaseModel):
    """What the host opens to plugins."""

    title: str
    filters: list[HookAnswer]
    events: list[HookAnswer]
    slots: list[HookAnswer]
    entities: list[EntityAnswer]
