"""Writes docs/reference/sdk.md and hooks.md from the SDK's own docstrings, signatures, structs and catalogue.

`python -m tools.build_reference` writes it; with `--check` it only says whether what is there is what would be written.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec

import jackfield_sdk as jf
from jackfield_sdk import capabilities, context, errors, identifiers, manifest, metrics, testing
from jackfield_sdk.capabilities import files, functions, storage
from jackfield_sdk.hooks.catalogue import EXAMPLES, STANDARD
from jackfield_sdk.plugin import Plugin
from tools.committed import ROOT

PAGE = ROOT / "docs" / "reference" / "sdk.md"
HOOKS_PAGE = ROOT / "docs" / "reference" / "hooks.md"

_HEAD = """\
# SDK reference

Made from the source by `python -m tools.build_reference`. What a plugin's author imports is
`import jackfield_sdk as jf`; the [tutorial](../tutorial/first-plugin.md) shows it at work.
"""

_HOOKS_HEAD = """\
# Standard hook points

Made from `jackfield_sdk.hooks.catalogue` by `python -m tools.build_reference`. A filter comes before something happens:
a handler may change the value or veto. An event comes after it has happened. Which of them a host has, `GET
/api/surface` says; it declares them by `jackfield.standard`. The payloads are described in the
[SDK reference](sdk.md#payloads-of-the-standard-hooks).

```python
import jackfield_sdk as jf

plugin = jf.Plugin("night-watch", version="1.0.0")


@plugin.filter("booking.beforeCreate")
def no_nights(ctx: jf.Context, booking: jf.hooks.Booking) -> None:
    if "T03:" in booking.starts_at:
        raise jf.VetoError("Nobody is there at night.")


@plugin.on("booking.created")
def booked(ctx: jf.Context, booking: jf.hooks.Booking) -> None:
    ctx.log.info("booked", service=booking.service)
```
"""


def hooks_page() -> str:
    """The page of the standard hook points."""
    parts = [_HOOKS_HEAD]
    for subject in dict.fromkeys(hook.subject for hook in STANDARD.values()):
        found = [hook for hook in STANDARD.values() if hook.subject == subject]
        rows = [
            f"| `{hook.name}` | {hook.kind} | `jf.hooks.{hook.payload.__name__}` | {_cell(hook.description)} |"
            for hook in found
        ]
        parts.append(f"## {subject}\n")
        if found[0].source == "platform":
            parts.append("The platform sends these itself, to the tenant's other plugins; hosts do not declare them.\n")
        parts.append(_table("name", "kind", "payload", "when", rows=rows) + "\n")
        for payload in dict.fromkeys(hook.payload for hook in found):
            example = msgspec.json.format(msgspec.json.encode(EXAMPLES[payload]), indent=2).decode()
            parts.append(f"An example of `{payload.__name__}`:\n\n```json\n{example}\n```\n")
    return "\n".join(parts)


def page() -> str:
    """The whole page."""
    parts = [_HEAD, *_plugin(), *_context(), *_capabilities(), *_hooks(), *_ui(), *_errors(), *_testing(), *_manifest()]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _plugin() -> Iterator[str]:
    yield f"## Plugin\n\n{_code('jf.Plugin', Plugin)}\n\n{_text(Plugin)}"
    for name in _public(Plugin):
        member = inspect.getattr_static(Plugin, name)
        if inspect.isfunction(member):
            yield f"### `plugin.{name}`\n\n{_code(f'plugin.{name}', member)}\n\n{_text(member)}"


def _context() -> Iterator[str]:
    yield "## What a handler receives and returns"
    yield from _class("jf.Context", context.Context)
    for struct in (context.Request, context.Response, context.Health):
        yield from _struct(f"jf.{struct.__name__}", struct)
        yield from _members(struct)


def _capabilities() -> Iterator[str]:
    yield f"## Capabilities\n\n{_text(capabilities)}"
    for label, class_ in (
        ("ctx.storage", capabilities.Storage), ("ctx.tables[…]", capabilities.Table), ("ctx.data", capabilities.Data),
        ("ctx.data[…]", capabilities.Entity), ("ctx.events", capabilities.Events), ("ctx.log", capabilities.Log),
        ("a secret of the configuration", jf.Secret),
    ):  # fmt: skip
        yield from _class(label, class_)
    for name, (module, kind) in sorted(context._LAZY.items()):
        yield from _class(f"ctx.{name}", getattr(importlib.import_module(module), kind))
    for label, class_ in (
        ("what ctx.storage.entry gives", storage.Entry), ("a file", files.File),
        ("what ctx.files.open gives", files.FileReader), ("what ctx.files.create gives", files.FileWriter),
    ):  # fmt: skip
        yield from _class(label, class_)
    for label, class_ in (
        ("ctx.functions[…]", functions.OtherPlugin), ("ctx.ids", identifiers.Ids), ("ctx.metrics", metrics.Metrics),
        ("ctx.tenant", context.Tenant), ("ctx.user", context.User),
    ):  # fmt: skip
        yield from _class(label, class_)


def _hooks() -> Iterator[str]:
    yield f"## Payloads of the standard hooks\n\n{_text(jf.hooks)}"
    for name in jf.hooks.__all__:
        yield from _struct(f"jf.hooks.{name}", getattr(jf.hooks, name))


def _ui() -> Iterator[str]:
    yield f"## Widgets\n\n{_text(jf.ui)}\n\nEvery node takes `id` and `fallback` as well."
    nodes = {node.__name__ for node in get_args(jf.ui.Node)}
    for name in jf.ui.__all__:
        value = getattr(jf.ui, name)
        if isinstance(value, type) and issubclass(value, msgspec.Struct):
            yield from _struct(f"jf.ui.{name}", value, leave_out=("id", "fallback") if name in nodes else ())
    limits = [f"| `{name}` | {getattr(jf.ui, name)} |" for name in jf.ui.__all__ if name.startswith("MAX_")]
    yield "### Limits\n\n" + _table("name", "value", rows=limits)


def _errors() -> Iterator[str]:
    classes = [getattr(errors, name) for name in errors.__all__]
    rows = [f"| `{class_.__name__}` | `{class_.code}` | {_first(class_)} |" for class_ in classes]
    yield f"## Errors\n\n{_text(errors)}\n\n" + _table("error", "code", "meaning", rows=rows)


def _testing() -> Iterator[str]:
    yield f"## Testing\n\n{_text(testing)}"
    yield from _class("FakePlatform", testing.FakePlatform)


def _manifest() -> Iterator[str]:
    yield f"## Manifest\n\n{_text(manifest)}\n\nCategories: {', '.join(f'`{name}`' for name in manifest.CATEGORIES)}."
    for name in ("Manifest", *(name for name in manifest.__all__ if name != "Manifest")):
        value = getattr(manifest, name)
        if isinstance(value, type) and issubclass(value, msgspec.Struct):
            yield from _struct(name, value)


# -- one thing -------------------------------------------------------------------------------------------------------


def _class(label: str, class_: type) -> Iterator[str]:
    yield f"### {label}\n\n{_text(class_)}"
    yield from _members(class_)


def _members(class_: type) -> Iterator[str]:
    rows: list[str] = []
    for name in _public(class_):
        member = inspect.getattr_static(class_, name)
        if isinstance(member, property):
            rows.append(f"| `{name}` | {_first(member)} |")
        elif inspect.isfunction(member):
            rows.append(f"| `{name}{_signature(member)}` | {_first(member)} |")
    if rows:
        yield _table("name", "meaning", rows=rows)


def _struct(label: str, struct: type[msgspec.Struct], leave_out: Collection[str] = ()) -> Iterator[str]:
    types: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        types.update(vars(base).get("__annotations__", {}))
    rows = [
        f"| `{field.name}` | {_cell(f'`{_plain_type(types[field.name])}`')} | {_default(field)} |"
        for field in msgspec.structs.fields(struct)
        if field.name not in leave_out
    ]
    table = "\n\n" + _table("field", "type", "default", rows=rows) if rows else ""
    yield f"### {label}\n\n{_text(struct)}{table}"


class _Plain(ast.NodeTransformer):
    """Leaves of a type what a reader needs: no limits, no private names (all of ours are texts)."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:  # the base class's name for it
        if isinstance(node.value, ast.Name) and node.value.id == "Annotated" and isinstance(node.slice, ast.Tuple):
            return self.visit(node.slice.elts[0])
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:  # the same
        return ast.Name("str") if node.id.startswith("_") else node


def _plain_type(annotation: str) -> str:
    return ast.unparse(_Plain().visit(ast.parse(annotation, mode="eval")))


def _default(field: Any) -> str:
    if field.required:
        return "required"
    if field.default_factory is not msgspec.NODEFAULT:
        made = field.default_factory()
        return f"`{made!r}`" if isinstance(made, (list, dict)) else ""
    return "" if isinstance(field.default, msgspec.Struct) else _cell(f"`{field.default!r}`")


def _public(class_: type) -> list[str]:
    """Public members in the order of the source."""
    return [name for name in vars(class_) if not name.startswith("_")]


def _signature(function: Callable[..., Any]) -> str:
    parameters = list(inspect.signature(function).parameters.values())
    kept = [parameter for parameter in parameters if parameter.name != "self"]
    text = str(inspect.Signature([p.replace(annotation=p.empty) for p in kept]))
    return _cell(text)


def _code(label: str, function: Callable[..., Any]) -> str:
    lines = [f"    {_parameter(p)}," for p in inspect.signature(function).parameters.values() if p.name != "self"]
    starred = next((i for i, p in enumerate(_kept(function)) if p.kind is p.KEYWORD_ONLY), None)
    if starred is not None:
        lines.insert(starred, "    *,")
    return "```text\n" + f"{label}(\n" + "\n".join(lines) + "\n)\n```"


def _kept(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return [p for p in inspect.signature(function).parameters.values() if p.name != "self"]


def _parameter(parameter: inspect.Parameter) -> str:
    annotation = "" if parameter.annotation is parameter.empty else f": {parameter.annotation}"
    default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
    return f"{parameter.name}{annotation}{default}"


def _text(thing: Any) -> str:
    """A docstring as Markdown: the sections of Google's form become lists."""
    lines: list[str] = []
    section = False
    for line in (inspect.getdoc(thing) or "").splitlines():
        if line in ("Args:", "Attributes:", "Raises:", "Returns:"):
            lines += [f"**{line[:-1]}**", ""]
            section = True
        elif section and line.startswith("    ") and not line.startswith("     "):
            name, colon, rest = line.strip().partition(": ")
            lines.append(f"- `{name}`: {rest}" if colon else f"  {line.strip()}")
        elif section and line.startswith("     "):
            lines.append(f"  {line.strip()}")
        else:
            section = section and not line.strip()
            lines.append(line)
    return "\n".join(lines)


def _first(thing: Any) -> str:
    return _cell((inspect.getdoc(thing) or "").partition("\n\n")[0].replace("\n", " "))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _table(*heads: str, rows: list[str]) -> str:
    return "\n".join([f"| {' | '.join(heads)} |", f"| {' | '.join('---' for _ in heads)} |", *rows])


def main(arguments: list[str] | None = None, path: Path = PAGE, hooks_path: Path = HOOKS_PAGE) -> int:
    is_checked = "--check" in (sys.argv[1:] if arguments is None else arguments)
    status = 0
    for place, made in ((path, page()), (hooks_path, hooks_page())):
        if not is_checked:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(made, encoding="utf-8")
        elif not place.is_file() or place.read_text(encoding="utf-8") != made:
            print(f"{place.name} is not what the source says: run `python -m tools.build_reference`")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
