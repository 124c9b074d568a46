"""What the platform does with a tree before any page sees it: every limit, every address, every type.

A tree comes from plugin code, so it may be anything. What leaves here is made of known nodes alone.
"""

from __future__ import annotations

from typing import Any, cast, get_args

import msgspec

from jackfield_sdk.errors import PluginError
from jackfield_sdk.ui import nodes
from jackfield_sdk.ui.links import is_safe_image, is_safe_link, is_safe_path

__all__ = ["MAX_DEPTH", "MAX_NODES", "MAX_ROWS", "MAX_TEXT_BYTES", "MAX_TREE_BYTES", "check_tree"]

MAX_NODES = 300
MAX_DEPTH = 12
MAX_ROWS = 500
"""Rows of all tables and charts of a tree together."""
MAX_TEXT_BYTES = 4 * 1024
MAX_TREE_BYTES = 256 * 1024

_KNOWN = frozenset(kind.__name__ for kind in get_args(nodes.Node))
_PLACEHOLDER = msgspec.to_builtins(
    nodes.Text("This part of the widget cannot be shown here.", style="caption", tone="muted")
)


class _WidgetError(PluginError):
    """A tree that cannot be shown."""

    code = "widget-invalid"


def check_tree(data: Any) -> dict[str, Any]:
    """A widget's tree in its canonical plain form.

    A node of an unknown type is replaced by its `fallback`, or by a line of text that says so; unknown attributes of a
    known node are dropped. An address or a value that is not allowed makes the whole tree invalid.

    Args:
        data: What the handler returned, as plain data.

    Raises:
        PluginError: Code `widget-invalid`, with the place of what is wrong.
    """
    try:
        encoded = msgspec.json.encode(data)
        if len(encoded) > MAX_TREE_BYTES:
            raise _invalid(
                f"a tree of {len(encoded)} bytes, over the limit of {MAX_TREE_BYTES}", "Show less, or in pages."
            )
        # What comes back is JSON for certain: no bytes, no tuples, no keys but text, no NaN, nobody else's dict.
        tree = _Walk().node(msgspec.json.decode(encoded), "$", 1)
        return msgspec.to_builtins(msgspec.convert(tree, nodes.Node))
    except msgspec.ValidationError as error:
        raise _invalid(str(error), "See `jackfield_sdk.ui` for what each node takes.") from error
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise _invalid(f"not plain data: {error}", "Return a node of `jackfield_sdk.ui`.") from error


def _invalid(message: str, hint: str = "", *, path: str = "") -> _WidgetError:
    return _WidgetError(f"{message} - at `{path}`" if path else message, hint=hint)


class _Walk:
    """Goes through a tree once, counting, and leaves known nodes only."""

    def __init__(self) -> None:
        self._nodes = 0
        self._rows = 0

    def node(self, data: Any, path: str, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise _invalid(f"nested deeper than {MAX_DEPTH} nodes", path=path)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _invalid(f"more than {MAX_NODES} nodes", "Show less, or in pages.", path=path)
        if not isinstance(data, dict):
            raise _invalid("a node of `ui` is expected here", "For instance `jf.ui.Text('…')`.", path=path)
        found = cast("dict[str, Any]", data)
        kind = found.get("type")
        if not isinstance(kind, str) or kind not in _KNOWN:
            fallback = found.get("fallback")
            return dict(_PLACEHOLDER) if fallback is None else self.node(fallback, f"{path}.fallback", depth + 1)
        self._check_own(found, kind, path)
        result = dict(found)
        if found.get("fallback") is not None:
            result["fallback"] = self.node(found["fallback"], f"{path}.fallback", depth + 1)
        if "children" in found:
            result["children"] = self._children(found["children"], f"{path}.children", depth)
        if kind == "Tabs" and isinstance(found.get("tabs"), list):
            result["tabs"] = [self._tab(tab, f"{path}.tabs[{i}]", depth) for i, tab in enumerate(found["tabs"])]
        return result

    def _tab(self, data: Any, path: str, depth: int) -> Any:
        if not isinstance(data, dict) or "children" not in data:
            return cast("Any", data)
        tab = cast("dict[str, Any]", data)
        return {**tab, "children": self._children(tab["children"], f"{path}.children", depth)}

    def _children(self, data: Any, path: str, depth: int) -> Any:
        if not isinstance(data, list):
            raise _invalid("`children` is a list of nodes", path=path)
        items = cast("list[Any]", data)
        return [self.node(child, f"{path}[{i}]", depth + 1) for i, child in enumerate(items)]

    def _check_own(self, node: dict[str, Any], kind: str, path: str) -> None:
        """The node's own attributes, its children left out."""
        self._check_address(node, kind, path)
        rows = node.get({"Table": "rows", "Chart": "data"}.get(kind, ""))
        if isinstance(rows, list):
            self._rows += len(cast("list[Any]", rows))
            if self._rows > MAX_ROWS:
                raise _invalid(f"more than {MAX_ROWS} rows", "Show them in pages.", path=path)
        pictured = kind == "Image" and str(node.get("src", "")).startswith("data:")
        skip = {"children", "tabs", "fallback"} | ({"src"} if pictured else set[str]())
        for key, value in node.items():
            if key not in skip:
                _check_texts(value, f"{path}.{key}")
        if kind == "Tabs" and isinstance(node.get("tabs"), list):
            for tab in node["tabs"]:
                if isinstance(tab, dict):
                    _check_texts(cast("dict[str, Any]", tab).get("label"), f"{path}.tabs")
        if kind == "Form":
            _check_references(node.get("schema"), f"{path}.schema")

    def _check_address(self, node: dict[str, Any], kind: str, path: str) -> None:
        key, is_safe, allowed = {
            "Link": ("href", is_safe_link, "Links are http, https, mailto, or relative."),
            "Image": ("src", is_safe_image, "Images are http, https, or `data:` in a raster format."),
            "Frame": ("src", is_safe_path, "A frame shows a file of the package."),
        }.get(kind, ("", None, ""))
        value = node.get(key)
        if is_safe is not None and isinstance(value, str) and not is_safe(value):
            raise _invalid(f"the address {value[:80]!r} is not allowed", allowed, path=f"{path}.{key}")


def _check_texts(value: Any, path: str) -> None:
    """No text in a value, keys included, is over the limit. Without recursion, as a value may be nested."""
    rest: list[Any] = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, str):
            if len(item) > MAX_TEXT_BYTES or len(item.encode()) > MAX_TEXT_BYTES:
                raise _invalid(f"a text over {MAX_TEXT_BYTES} bytes", "Shorten it.", path=path)
        elif isinstance(item, dict):
            entries = cast("dict[str, Any]", item)
            rest.extend(entries)
            rest.extend(entries.values())
        elif isinstance(item, list):
            rest.extend(cast("list[Any]", item))


def _check_references(schema: Any, path: str) -> None:
    """A form's schema refers to itself alone: a page must not fetch another one for it."""
    rest: list[Any] = [schema]
    while rest:
        item = rest.pop()
        if isinstance(item, dict):
            entries = cast("dict[str, Any]", item)
            for key in ("$ref", "$dynamicRef"):
                target = entries.get(key)
                if isinstance(target, str) and not target.startswith("#"):
                    raise _invalid(f"the schema refers outside itself: {target[:80]}", path=path)
            rest.extend(entries.values())
        elif isinstance(item, list):
            rest.extend(cast("list[Any]", item))
