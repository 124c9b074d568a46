"""`functions`: public functions of other plugins that the release declares it depends on.

Who may call what is decided above, where plugins are known (`PluginCalls`); here is the permission.
"""

from __future__ import annotations

from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from jackfield.capabilities.context import CapabilityContext
from jackfield.capabilities.operations import Arguments, Capability, answer, fields_of, operation

__all__ = ["Functions", "PluginCalls"]

Plugin = Annotated[str, Meta(max_length=105, pattern=r"^[a-z][a-z0-9-]*(@[a-z0-9][a-z0-9-]*)?\Z")]
Name = Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z")]


class PluginCalls(Protocol):
    """Calls from one plugin to another; `extension_points.PluginCalls` in a node."""

    async def call(
        self, context: CapabilityContext, plugin: str, name: str, arguments: dict[str, Any], timeout_ms: int | None
    ) -> dict[str, Any]:
        """Call a function on behalf of a call; `value`, or `error` with code, message, hint, kind, retry_after_s.

        Raises:
            JackfieldError: It never ran.
        """
        ...

    async def offers(self, context: CapabilityContext, plugin: str) -> list[str]:
        """Names of the functions that can be called.

        Raises:
            JackfieldError: The release does not depend on the plugin.
        """
        ...


class _Call(Arguments, frozen=True):
    plugin: Plugin
    name: Name
    arguments: msgspec.Raw
    timeout_ms: Annotated[int, Meta(ge=1, le=300_000)] | None = None


class _Offers(Arguments, frozen=True):
    plugin: Plugin


class Functions:
    """The capability."""

    def __init__(self, calls: PluginCalls) -> None:
        self._calls = calls
        self.operations: Capability = {
            "call": operation(
                _Call, lambda arguments: f"functions:{arguments.plugin.partition('@')[0]}.{arguments.name}", self._call
            ),
            "offers": operation(_Offers, None, self._offers),
        }

    async def _call(self, context: CapabilityContext, arguments: _Call) -> bytes:
        given = fields_of(arguments.arguments, "arguments")
        return answer(await self._calls.call(context, arguments.plugin, arguments.name, given, arguments.timeout_ms))

    async def _offers(self, context: CapabilityContext, arguments: _Offers) -> bytes:
        return answer(await self._calls.offers(context, arguments.plugin))
