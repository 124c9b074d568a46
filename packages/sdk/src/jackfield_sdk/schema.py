"""JSON Schema from the author's types, and the values back into them.

The types are msgspec's: structs, dataclasses, unions, `Annotated[int, Meta(ge=0)]`, enums, dates, UUIDs, decimals.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from typing import Any, cast

import msgspec

from jackfield_sdk.errors import ManifestError

__all__ = [
    "Hosts",
    "Secret",
    "json_schema_of",
    "parameters_struct",
    "secret_fields",
    "secret_hosts",
    "struct_of_class",
    "to_plain",
]


class Secret:
    """Type of a configuration field whose value the platform keeps encrypted.

    Plugin code holds a handle: the value itself stays with the platform until `reveal` asks the broker for it, which
    takes the permission `secrets:NAME`, is counted and is recorded.
    """

    __slots__ = ("_ref", "_reveal", "name")

    def __init__(self, name: str, reveal: Callable[[str], str], ref: Callable[[str], str] | None = None) -> None:
        self.name = name
        self._reveal = reveal
        self._ref = ref

    def reveal(self) -> str:
        """The value, in plain text.

        Raises:
            PermissionDeniedError: `secrets:NAME` is not granted.
        """
        return self._reveal(self.name)

    def ref(self) -> str:
        """A text that stands for the value in requests to the hosts that the secret is bound to, see `Hosts`.

        Raises:
            CapabilityError: `secret-not-bound`: the field names no hosts.
        """
        if self._ref is None:
            raise RuntimeError("nobody to ask")
        return self._ref(self.name)

    def __repr__(self) -> str:
        return f"Secret({self.name!r})"


class Hosts:
    """Which hosts a secret may be sent to: `Annotated[jf.Secret, jf.Hosts("api.example.com")]`.

    Args:
        hosts: As behind `http:` in permissions, which have to cover them: `api.example.com`, `*.example.com`.
    """

    __slots__ = ("hosts",)

    def __init__(self, *hosts: str) -> None:
        self.hosts = hosts


def _schema_hook(annotation: type) -> dict[str, Any]:
    if annotation is Secret:
        return {"type": "string", "format": "secret", "writeOnly": True}
    raise NotImplementedError(f"no JSON Schema for {annotation!r}")


def json_schema_of(annotation: Any, *, path: str = "") -> dict[str, Any]:
    """Schema of a type, self-contained (definitions under `$defs`).

    Raises:
        ManifestError: The type has no JSON form.
    """
    if annotation is None or annotation is inspect.Parameter.empty:
        return {"type": "null"} if annotation is None else {}
    try:
        (schema,), components = msgspec.json.schema_components(
            [annotation], schema_hook=_schema_hook, ref_template="#/$defs/{name}"
        )
    except NameError as error:
        raise _unknown_name(error, path) from error
    except (TypeError, NotImplementedError) as error:
        raise ManifestError(
            str(error), path=path, hint="Use types that JSON can carry, or a Struct of such."
        ) from error
    if set(schema) == {"$ref"}:
        # One type at the root: put it in place, so that a form or a validator need not follow a reference.
        name = schema["$ref"].rpartition("/")[2]
        if f'"#/$defs/{name}"' not in msgspec.json.encode(components).decode():
            schema = components.pop(name)
    if components:
        schema = {**schema, "$defs": components}
    return _with_made_defaults(schema, annotation)


def _with_made_defaults(schema: dict[str, Any], annotation: Any) -> dict[str, Any]:
    """msgspec leaves out the default of a list or dict that is not empty; a form needs it."""
    if not isinstance(annotation, type) or not issubclass(annotation, msgspec.Struct) or "properties" not in schema:
        return schema
    properties = schema["properties"]
    for field in msgspec.structs.fields(annotation):
        if callable(field.default_factory) and "default" not in properties[field.encode_name]:
            properties[field.encode_name]["default"] = to_plain(field.default_factory())
    return schema


def struct_of_class(cls: type[Any], *, path: str) -> type[msgspec.Struct]:
    """A frozen struct with the annotations and defaults of a plain class; a struct is taken as it is."""
    if issubclass(cls, msgspec.Struct):
        return cls
    hints = _hints(cls, path)
    if not hints:
        raise ManifestError(f"class {cls.__name__} declares no fields", path=path, hint="Write `name: type = default`.")
    fields: list[Any] = []
    for name, annotation in hints.items():
        default: Any = getattr(cls, name, msgspec.NODEFAULT)
        fields.append(_field(name, annotation, default))
    return msgspec.defstruct(
        cls.__name__, fields, frozen=True, kw_only=True, forbid_unknown_fields=True, module=cls.__module__,
        namespace={"__doc__": cls.__doc__},
    )  # fmt: skip


def secret_fields(struct: type[msgspec.Struct], *, path: str) -> list[str]:
    """Names of the fields that hold a secret: `Secret` or `Secret | None`, annotated or not.

    Raises:
        ManifestError: A secret lies deeper, where nothing would keep it apart from the rest.
    """
    found: list[str] = []
    for field in msgspec.structs.fields(struct):
        if _parts(field.type) <= {Secret, type(None)}:
            found.append(field.name)
        elif _mentions_secret(field.type, frozenset()):
            raise ManifestError(
                f"the secret in `{field.name}` is not a field of its own",
                path=f"{path}.{field.name}",
                hint="Write `name: jf.Secret` or `name: jf.Secret | None = None`.",
            )
    return found


def secret_hosts(struct: type[msgspec.Struct]) -> dict[str, list[str]]:
    """Secret fields that are bound to hosts, and those."""
    found: dict[str, list[str]] = {}
    for field in msgspec.structs.fields(struct):
        hosts = [host for bound in _hosts_in(field.type) for host in bound.hosts]
        if hosts:
            found[field.name] = hosts
    return found


def _hosts_in(annotation: Any) -> list[Hosts]:
    found = [part for part in getattr(annotation, "__metadata__", ()) if isinstance(part, Hosts)]
    for inner in typing.get_args(annotation):
        found += _hosts_in(inner)
    return found


def _parts(annotation: Any) -> set[Any]:
    """The members of a union, annotations taken off."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _parts(inner[0])
    if origin in (typing.Union, types.UnionType):
        return {part for member in inner for part in _parts(member)}
    return {annotation}


def _mentions_secret(annotation: Any, above: frozenset[Any]) -> bool:
    if annotation is Secret:
        return True
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct) and annotation not in above:
        fields = msgspec.structs.fields(annotation)
        return any(_mentions_secret(field.type, above | {annotation}) for field in fields)
    return any(_mentions_secret(inner, above) for inner in typing.get_args(annotation))


def parameters_struct(handler: Callable[..., Any], *, skip: int = 1, path: str) -> type[msgspec.Struct]:
    """A struct with the parameters of a handler after the context."""
    hints = _hints(handler, path)
    fields: list[Any] = []
    parameters = list(inspect.signature(handler).parameters.values())[skip:]
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ManifestError(f"parameter `{parameter.name}` has no name of its own for a caller to use", path=path)
        default = msgspec.NODEFAULT if parameter.default is parameter.empty else parameter.default
        fields.append(_field(parameter.name, hints.get(parameter.name, Any), default))
    name = "".join(part.title() for part in handler.__name__.split("_")) + "Arguments"
    return msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True, module=handler.__module__)


def _field(name: str, annotation: Any, default: Any) -> tuple[str, Any, Any]:
    """A field of a struct; a default that could be changed is copied for each one that is made."""
    if isinstance(default, (list, dict, set)):
        copy: Callable[[], Any] = cast("Any", default).copy
        default = msgspec.field(default_factory=copy)
    return name, annotation, default


def payload_type(handler: Callable[..., Any], *, path: str) -> Any:
    """Type of the single value that a handler takes after the context (`Any` when it is not annotated)."""
    parameters = list(inspect.signature(handler).parameters.values())[1:]
    if len(parameters) != 1:
        raise ManifestError(
            f"handler `{handler.__name__}` takes {len(parameters)} values after the context, not one",
            path=path,
            hint="Write `def handler(ctx, payload): …`.",
        )
    return _hints(handler, path).get(parameters[0].name, Any)


def return_type(handler: Callable[..., Any], *, path: str) -> Any:
    """Annotated return type; `Any` when there is none."""
    return _hints(handler, path).get("return", Any)


def to_plain(value: Any) -> Any:
    """Only what JSON has: dicts with text keys, lists (a tuple stays one), text, numbers, booleans, null.

    Raises:
        TypeError: The value has no such form.
    """
    return msgspec.to_builtins(value, str_keys=True)


def _hints(annotated: Any, path: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(annotated, include_extras=True)
    except NameError as error:
        raise _unknown_name(error, path) from error


def _unknown_name(error: NameError, path: str) -> ManifestError:
    return ManifestError(f"a type cannot be found: {error}", path=path, hint="Import it at module level.")
