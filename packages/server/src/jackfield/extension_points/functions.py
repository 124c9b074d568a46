"""Functions: typed, validated both ways, answered with a structured result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import msgspec

from jackfield.capabilities.origin import Origin
from jackfield.extension_points.errors import (
    ArgumentsInvalidError,
    FunctionUnknownError,
    PluginInactiveError,
    RoleTooLowError,
)
from jackfield.extension_points.validation import OncePerRelease, SchemaCache
from jackfield.invocation import ActiveInstallation, Invocation, Invoker, Outcome
from jackfield.lifecycle import ActiveInstallations
from jackfield_sdk.manifest import Function
from jackfield_sdk.wire import Caller, Execution

__all__ = ["FunctionError", "FunctionMetrics", "FunctionResult", "Functions"]

_RANK = {"member": 0, "admin": 1, "owner": 2}


class FunctionError(msgspec.Struct, frozen=True):
    """Why a function did not return."""

    code: str
    message: str
    hint: str = ""


class FunctionMetrics(msgspec.Struct, frozen=True):
    """What a call cost; times in milliseconds.

    Attributes:
        tokens_used, api_calls, custom: What the plugin counted itself.
    """

    duration_ms: float
    cpu_ms: float
    host_calls: int
    invocation_id: str
    tokens_used: int = 0
    api_calls: int = 0
    custom: dict[str, int] = {}


class FunctionResult(msgspec.Struct, frozen=True):
    """The answer to every call that reached the plugin."""

    success: bool
    output: Any
    error: FunctionError | None
    metrics: FunctionMetrics


class Functions:
    """Calls functions of active plugins."""

    def __init__(self, active: ActiveInstallations, invoker: Invoker) -> None:
        self._active = active
        self._invoker = invoker
        self._schemas = SchemaCache()
        self._index: OncePerRelease[dict[str, Function]] = OncePerRelease()
        self._plain: OncePerRelease[dict[str, bool]] = OncePerRelease()

    async def call(
        self,
        tenant_id: str,
        slug: str,
        name: str,
        arguments: dict[str, Any],
        caller: Caller | None = None,
        *,
        locale: str = "en",
        origin: Origin | None = None,
        execution: Execution | None = None,
    ) -> FunctionResult:
        """Call a function.

        Args:
            caller: The member it runs for; None when the host itself calls.
            locale: Language tag of whoever it runs for.
            origin: What is handed along.
            execution: In what it takes part.

        Raises:
            PluginInactiveError, FunctionUnknownError, RoleTooLowError, ArgumentsInvalidError: It never ran.
        """
        run = self.run(tenant_id, slug, name, arguments, caller, locale=locale, origin=origin, execution=execution)
        return (await run)[0]

    async def run(
        self,
        tenant_id: str,
        slug: str,
        name: str,
        arguments: dict[str, Any],
        caller: Caller | None = None,
        *,
        locale: str = "en",
        origin: Origin | None = None,
        execution: Execution | None = None,
    ) -> tuple[FunctionResult, Outcome]:
        """As `call`, with the outcome: a result does not tell a refusal of the platform's from a plugin's own."""
        installation, function = await self.find(tenant_id, slug, name)
        self.check_role(function, caller)
        outcome, problem = await self.invoke(
            installation, function, arguments, caller, locale=locale, origin=origin, execution=execution
        )
        metrics = _metrics(outcome)
        if problem is not None:
            return FunctionResult(success=False, output=None, error=FunctionError(*problem), metrics=metrics), outcome
        return FunctionResult(success=True, output=outcome.value, error=None, metrics=metrics), outcome

    def check_role(self, function: Function, caller: Caller | None, *, is_plugin: bool = False) -> None:
        """Refuse who may not call a function.

        Args:
            is_plugin: Another plugin calls. Without a member to act for it is nobody's admin, which the host is.

        Raises:
            RoleTooLowError: It needs a higher role.
        """
        rank = 0 if caller is None else _RANK.get(caller.role, -1)
        if rank < _RANK[function.role] and (is_plugin or caller is not None):
            raise RoleTooLowError(f"`{function.name}` needs the role {function.role}", needed=function.role)

    async def invoke(
        self,
        installation: ActiveInstallation,
        function: Function,
        arguments: dict[str, Any],
        caller: Caller | None,
        *,
        timeout_ms: int | None = None,
        locale: str = "en",
        origin: Origin | None = None,
        execution: Execution | None = None,
        is_dry_run: bool = False,
    ) -> tuple[Outcome, tuple[str, str, str] | None]:
        """Run a function, its arguments and its result validated; the outcome, and code, message and hint of what is
        wrong with it.

        Raises:
            ArgumentsInvalidError: It never ran.
        """
        name = function.name
        if problems := self._schemas.problems(installation.digest, f"{name}:in", function.parameters, arguments):
            raise ArgumentsInvalidError(problems[0], errors=problems)
        is_plain = self._is_plain(installation.digest, function)
        if is_plain and _has_float(arguments):
            arguments = _without_floats(arguments)
        outcome = await self._invoker.run(
            Invocation(
                installation,
                "function",
                name,
                function.handler,
                arguments,
                function.timeout_ms if timeout_ms is None else min(function.timeout_ms, timeout_ms),
                caller,
                locale=locale,
                is_plain=is_plain,
                origin=origin,
                execution=execution,
                is_dry_run=is_dry_run,
            )
        )
        failure = outcome.failure
        if failure is not None:
            return outcome, (failure.code, failure.message, failure.hint)
        if problems := self._schemas.problems(installation.digest, f"{name}:out", function.returns, outcome.value):
            text = f"what the plugin returned does not fit its own declaration: {problems[0]}"
            return outcome, ("result-invalid", text, "This is a defect of the plugin.")
        return outcome, None

    def _is_plain(self, digest: str, function: Function) -> bool:
        known = self._plain.get(digest)
        if known is None:
            known = self._plain.keep(digest, {})
        answer = known.get(function.name)
        if answer is None:
            answer = known[function.name] = _takes_plain(function.parameters)
        return answer

    async def find(self, tenant_id: str, slug: str, name: str) -> tuple[ActiveInstallation, Function]:
        """The installation and the function's declaration."""
        plugins = self._active.peek(tenant_id) or await self._active.get(tenant_id)
        installation = plugins.by_slug.get(slug)
        if installation is None:
            raise PluginInactiveError(f"`{slug}` is not active")
        return installation, self.declared(installation, name)

    def declared(self, installation: ActiveInstallation, name: str) -> Function:
        """A function's declaration.

        Raises:
            FunctionUnknownError: The plugin has none of this name.
        """
        index = self._index.get(installation.digest)
        if index is None:
            index = self._index.keep(installation.digest, {f.name: f for f in installation.manifest.functions})
        function = index.get(name)
        if function is None:
            raise FunctionUnknownError(f"`{installation.slug}` has no function `{name}`")
        return function

    async def all(self, tenant_id: str) -> Iterator[tuple[str, Function]]:
        """Every function a tenant can call, with the key of its plugin."""
        plugins = await self._active.get(tenant_id)
        return (
            (slug, function)
            for slug, installation in sorted(plugins.by_slug.items())
            for function in installation.manifest.functions
        )


def _metrics(outcome: Outcome) -> FunctionMetrics:
    if outcome.metrics is None:
        return FunctionMetrics(outcome.duration_ms, outcome.cpu_ms, outcome.host_calls, outcome.invocation_id)
    counts = dict(outcome.metrics)
    tokens, calls = counts.pop("tokens_used", 0), counts.pop("api_calls", 0)
    return FunctionMetrics(
        outcome.duration_ms, outcome.cpu_ms, outcome.host_calls, outcome.invocation_id, tokens, calls, counts
    )


_PLAIN_TYPES = frozenset({"string", "integer", "boolean", "null"})
_CONVERTED = frozenset(
    {"format", "contentEncoding", "enum", "const", "$ref", "properties", "prefixItems", "uniqueItems"}
)
"""Keywords of types that Python has and JSON has not: dates, bytes, enumerations, structs, tuples, sets."""


_PLAIN_PARAMETERS = frozenset({"type", "title", "description", "properties", "required", "additionalProperties"})


def _without_floats(value: Any) -> Any:
    """To JSON Schema, 1.0 is an integer; to an author's `range(n)` it is not."""
    if isinstance(value, dict):
        return {name: _without_floats(item) for name, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_without_floats(item) for item in cast("list[Any]", value)]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _has_float(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_float, value.values()))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]  # data of any shape
    if isinstance(value, list):
        return any(map(_has_float, value))  # pyright: ignore[reportUnknownArgumentType]  # data of any shape
    return isinstance(value, float)


def _takes_plain(parameters: Any) -> bool:
    """Whether all that a function takes is named, and plain. A stranger's schema need not have the form of ours."""
    if not isinstance(parameters, dict) or not parameters.keys() <= _PLAIN_PARAMETERS:
        return False
    given = cast("dict[str, Any]", parameters)
    properties = cast("dict[str, Any]", given.get("properties", {}))
    return given.get("additionalProperties") is False and all(map(_is_plain_schema, properties.values()))


def _is_plain_schema(schema: Any) -> bool:
    """Whether every value that fits a schema is in Python what it is in JSON, so the handler can have it as it is."""
    if not isinstance(schema, dict):
        return False
    keywords = cast("dict[str, Any]", schema)
    if _CONVERTED & keywords.keys():
        return False
    if "anyOf" in keywords:
        return all(_is_plain_schema(option) for option in keywords["anyOf"])
    if keywords.get("type") == "array":
        return _is_plain_schema(keywords.get("items"))
    return keywords.get("type") in _PLAIN_TYPES
