"""Other plugins, as far as a test says what their functions answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from jackfield_sdk.errors import CapabilityError, PluginError, RetryLaterError, UserError, VetoError
from jackfield_sdk.manifest import Manifest
from jackfield_sdk.schema import to_plain

__all__ = ["Neighbours"]

Operation = tuple[type[Any], Callable[[Any], str], Callable[[Any], Any]]
Plugin = Annotated[str, Meta(max_length=105, pattern=r"^[a-z][a-z0-9-]*(@[a-z0-9][a-z0-9-]*)?\Z")]
Name = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z")]


class _Call(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    plugin: Plugin
    name: Name
    arguments: dict[str, Any]
    timeout_ms: Annotated[int, Meta(ge=1, le=300_000)] | None = None


class _Offers(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    plugin: Plugin


class Neighbours:
    """Plugins by slug, each with its public functions as plain callables.

    Attributes:
        calls: What was called: plugin, function, arguments; the oldest first.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self._needs = {dependency.slug for dependency in manifest.requires}
        self._plugins: dict[str, dict[str, Callable[..., Any]]] = {}

    def put(self, plugin: str, functions: Mapping[str, Callable[..., Any]]) -> None:
        """Another plugin is at work."""
        self._plugins.setdefault(plugin, {}).update(functions)

    def operations(self) -> Mapping[str, Operation]:
        """For the broker."""
        return {
            "functions.call": (_Call, lambda a: f"functions:{a.plugin.partition('@')[0]}.{a.name}", self._call),
            "functions.offers": (_Offers, lambda _: "", self._offers),
        }

    def _known(self, plugin: str) -> dict[str, Callable[..., Any]] | None:
        if plugin.partition("@")[0] not in self._needs:
            raise CapabilityError(
                f"the release does not say that it needs `{plugin}`",
                code="dependency-not-declared",
                hint="Name it in the plugin's `requires`, with a version range.",
            )
        return self._plugins.get(plugin)

    def _offers(self, arguments: _Offers) -> list[str]:
        return sorted(self._known(arguments.plugin) or ())

    def _call(self, arguments: _Call) -> dict[str, Any]:
        functions = self._known(arguments.plugin)
        if functions is None:
            raise CapabilityError(f"`{arguments.plugin}` is not active", code="plugin-not-active")
        function = functions.get(arguments.name)
        if function is None:
            raise CapabilityError(f"`{arguments.plugin}` has no function `{arguments.name}`", code="function-unknown")
        self.calls.append((arguments.plugin, arguments.name, arguments.arguments))
        try:
            return {"value": to_plain(function(**arguments.arguments))}
        except PluginError as error:
            later = error.after_s if isinstance(error, RetryLaterError) else None
            kind = "user" if isinstance(error, (UserError, VetoError)) else "plugin"
            problem: dict[str, Any] = {"code": error.code, "message": str(error), "hint": error.hint, "kind": kind}
            return {"error": {**problem, "retry_after_s": later}}
