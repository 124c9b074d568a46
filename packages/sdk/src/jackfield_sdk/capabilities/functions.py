"""Public functions of other plugins, through a declared dependency."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jackfield_sdk.capabilities.host import Host
from jackfield_sdk.errors import CapabilityError, PermissionDeniedError, PluginCallError
from jackfield_sdk.schema import to_plain

__all__ = ["Functions", "OtherPlugin"]


class OtherPlugin:
    """One other plugin of the tenant; its public functions are methods: `ctx.functions["shop"].price(item="i1")`."""

    __slots__ = ("_host", "_slug")

    def __init__(self, host: Host, slug: str) -> None:
        self._host = host
        self._slug = slug

    def call(self, name: str, arguments: dict[str, Any] | None = None, /, *, timeout_ms: int | None = None) -> Any:
        """Call a public function; what it returns, as plain data.

        It runs as the other plugin, for the member that this call runs for, and ends when this call has to.

        Args:
            timeout_ms: Give up earlier.

        Raises:
            PermissionDeniedError: `functions:PLUGIN.NAME` is not granted.
            PluginCallError: It did not return; `kind` and `code` say why.
        """
        given: dict[str, Any] = {"plugin": self._slug, "name": name, "arguments": to_plain(arguments or {})}
        if timeout_ms is not None:
            given["timeout_ms"] = timeout_ms
        try:
            answer: dict[str, Any] = self._host.call("functions", "call", given)
        except PermissionDeniedError:
            raise
        except CapabilityError as error:
            raise PluginCallError(
                str(error), plugin=self._slug, function=name, code=error.code, hint=error.hint
            ) from error
        problem = answer.get("error")
        if problem is None:
            return answer["value"]
        raise PluginCallError(
            problem["message"], plugin=self._slug, function=name, code=problem["code"], hint=problem["hint"],
            kind=problem["kind"], retry_after_s=problem["retry_after_s"],
        )  # fmt: skip

    def offers(self) -> list[str]:
        """Names of its public functions; empty while it is not active, or not of a version that was asked for."""
        return self._host.call("functions", "offers", {"plugin": self._slug})

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)

        def function(**arguments: Any) -> Any:
            return self.call(name, arguments)

        return function


class Functions:
    """`ctx.functions`: other plugins by slug; each is declared in `requires`."""

    __slots__ = ("_host",)

    def __init__(self, host: Host) -> None:
        self._host = host

    def __getitem__(self, plugin: str) -> OtherPlugin:
        return OtherPlugin(self._host, plugin)
