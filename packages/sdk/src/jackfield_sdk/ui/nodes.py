"""The nodes of `ui/v1`: plain values that a widget's handler returns and the host's page draws.

Names follow A2UI's basic catalogue where it has them; actions and `fallback` follow Adaptive Cards, `confirm` follows
Slack. Each node travels as an object whose `type` is the class's name.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

__all__ = [
    "Action",
    "Alert",
    "Badge",
    "Button",
    "Card",
    "Cells",
    "Chart",
    "Column",
    "Confirm",
    "Divider",
    "Form",
    "Frame",
    "Grid",
    "Icon",
    "Image",
    "Link",
    "Node",
    "Row",
    "Stat",
    "Tab",
    "Table",
    "TableColumn",
    "Tabs",
    "Text",
    "Tone",
    "Value",
]

Tone = Literal["neutral", "muted", "info", "success", "warning", "danger"]
"""What a node says by its colour; the host chooses the colour."""

Value = str | int | float | bool | None
Cells = dict[str, Value]
"""A row of a table or a point of a chart: plain values by key."""

_Name = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$(?!\n)", max_length=64)]
_Identity = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]+$(?!\n)", max_length=128)]


class Confirm(msgspec.Struct, frozen=True, omit_defaults=True):
    """Asked of the user before an action goes out."""

    title: str
    text: str = ""
    tone: Tone = "neutral"


class Action(msgspec.Struct, frozen=True, omit_defaults=True):
    """What happens when the user presses or submits: the plugin is told `verb` and `data`."""

    verb: _Name
    data: dict[str, Any] = {}
    confirm: Confirm | None = None


class _Node(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """What every node may carry.

    Attributes:
        id: Names the node within its tree, so that an answer to an action can replace it.
        fallback: Shown instead by a page that does not know this kind of node.
    """

    id: _Identity | None = None
    fallback: Node | None = None


class Text(_Node, frozen=True, tag="Text"):
    """Words. `text` is shown as it is, never as markup."""

    text: str
    style: Literal["title", "subtitle", "body", "caption", "code"] = "body"
    tone: Tone = "neutral"


class Image(_Node, frozen=True, tag="Image"):
    """A picture: an http(s) address, or a `data:` address of a raster image.

    Attributes:
        alt: What it shows, for those who cannot see it; empty when it only decorates.
        width, height: In CSS pixels.
    """

    src: str
    alt: str = ""
    width: Annotated[int, Meta(ge=1, le=4096)] | None = None
    height: Annotated[int, Meta(ge=1, le=4096)] | None = None


class Icon(_Node, frozen=True, tag="Icon"):
    """A symbol of the host's own set, by name; one that it lacks is left out."""

    name: _Name
    label: str = ""
    tone: Tone = "neutral"


class Row(_Node, frozen=True, tag="Row"):
    """Nodes side by side; they wrap where there is no room."""

    children: list[Node] = []
    align: Literal["start", "center", "end", "between"] = "start"


class Column(_Node, frozen=True, tag="Column"):
    """Nodes below one another. (A column of a table is a `TableColumn`.)"""

    children: list[Node] = []


class Grid(_Node, frozen=True, tag="Grid"):
    """Nodes in equal columns; fewer columns where there is no room."""

    children: list[Node] = []
    columns: Annotated[int, Meta(ge=1, le=6)] = 2


class Card(_Node, frozen=True, tag="Card"):
    """Nodes in a frame with a heading."""

    children: list[Node] = []
    title: str = ""
    subtitle: str = ""


class Tab(msgspec.Struct, frozen=True, omit_defaults=True):
    """One tab of `Tabs`."""

    label: str
    children: list[Node] = []


class Tabs(_Node, frozen=True, tag="Tabs"):
    """Nodes of which one group is seen at a time."""

    tabs: Annotated[list[Tab], Meta(min_length=1, max_length=12)]


class Divider(_Node, frozen=True, tag="Divider"):
    """A line between nodes."""


class Button(_Node, frozen=True, tag="Button"):
    """Sends an action when it is pressed."""

    label: str
    action: Action
    tone: Tone = "neutral"
    disabled: bool = False


class Badge(_Node, frozen=True, tag="Badge"):
    """A word or two that mark a state."""

    text: str
    tone: Tone = "neutral"


class Alert(_Node, frozen=True, tag="Alert"):
    """Something the user should notice."""

    text: str
    title: str = ""
    tone: Tone = "info"


class Stat(_Node, frozen=True, tag="Stat"):
    """One figure and what it counts."""

    label: str
    value: str | int | float
    unit: str = ""
    change: str = ""
    """How it moved, in words: "+12 % this week"."""
    tone: Tone = "neutral"


class TableColumn(msgspec.Struct, frozen=True, omit_defaults=True):
    """A column of a table: which key of a row it shows, and its heading (the key itself when left out)."""

    key: Annotated[str, Meta(min_length=1, max_length=64)]
    label: str = ""
    align: Literal["start", "center", "end"] = "start"


class Table(_Node, frozen=True, tag="Table"):
    """Rows of plain values, each a dict by column key."""

    columns: Annotated[list[TableColumn], Meta(min_length=1, max_length=30)]
    rows: list[Cells] = []
    caption: str = ""
    empty: str = ""
    """Said when there are no rows."""


class Chart(_Node, frozen=True, tag="Chart"):
    """A chart of rows.

    Attributes:
        label: What it shows, in words: the text alternative.
        x: Key of the rows that runs along the axis.
        y: Keys of the rows that are drawn, one series each.
    """

    kind: Literal["line", "bar", "area", "pie"]
    data: list[Cells]
    x: Annotated[str, Meta(min_length=1, max_length=64)]
    y: Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(min_length=1, max_length=12)]
    label: Annotated[str, Meta(min_length=1)]


class Form(_Node, frozen=True, tag="Form"):
    """A form made from a JSON Schema (2020-12) object; what is entered goes out as the action's data."""

    schema: dict[str, Any]
    action: Action
    values: dict[str, Any] = {}
    submit: str = ""
    """Label of the button."""


class Link(_Node, frozen=True, tag="Link"):
    """A link: http(s), mailto, or relative to the host's page."""

    text: str
    href: str


class Frame(_Node, frozen=True, tag="Frame"):
    """A page that the plugin brings along, in a frame without the host's origin; `src` is its path in the package."""

    src: str
    title: Annotated[str, Meta(min_length=1)]
    height: Annotated[int, Meta(ge=40, le=2000)] = 320


Node = (
    Text | Image | Icon | Row | Column | Card | Tabs | Divider | Button | Grid | Badge | Alert | Stat | Table | Chart
    | Form | Link | Frame
)  # fmt: skip
