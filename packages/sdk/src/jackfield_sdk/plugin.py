"""`Plugin` and its decorators: an author's typed functions become a manifest and a table of handlers."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any, Literal, TypeVar

import msgspec

from jackfield_sdk import manifest as m
from jackfield_sdk.errors import ManifestError
from jackfield_sdk.schema import (
    json_schema_of,
    parameters_struct,
    payload_type,
    return_type,
    secret_fields,
    secret_hosts,
    struct_of_class,
)

__all__ = ["Handler", "Migration", "Plugin"]

AnyFunction = Callable[..., Any]
F = TypeVar("F", bound=AnyFunction)
C = TypeVar("C", bound=type)
Takes = Literal["arguments", "payload", "request", "nothing"]
_NOT_LOOKED_AT = object()


class Handler:
    """One function of the plugin that the platform may call.

    Its types are looked at when they are needed first, not when it is declared: an isolate starts in a millisecond
    because it derives no schemas.

    Attributes:
        function: The author's function.
        takes: `arguments` (a struct spread over the parameters), `payload` (one value), `request`, or `nothing`.
    """

    __slots__ = ("_payload", "function", "path", "takes")

    def __init__(self, function: AnyFunction, takes: Takes, path: str) -> None:
        self.function = function
        self.takes = takes
        self.path = path
        self._payload: Any = _NOT_LOOKED_AT

    @property
    def payload(self) -> Any:
        """Type of the struct or value; None when it takes nothing.

        Raises:
            ManifestError: The function's signature does not fit what it is declared as.
        """
        if self._payload is _NOT_LOOKED_AT:
            self._payload = self._look()
        return self._payload

    def _look(self) -> Any:
        if self.takes == "arguments":
            return parameters_struct(self.function, path=self.path)
        if self.takes in ("payload", "request"):
            return payload_type(self.function, path=self.path)
        if len(inspect.signature(self.function).parameters) != 1:
            raise ManifestError(
                f"handler `{self.function.__name__}` takes the context and nothing else", path=self.path
            )
        return None


class Migration:
    """A declared migration; calling it calls the handler.

    Attributes:
        down_handler: Name of the handler that undoes it; None as long as there is none.
    """

    __slots__ = ("_function", "_path", "_plugin", "down_handler")

    def __init__(self, plugin: Plugin, function: AnyFunction, path: str) -> None:
        self._plugin = plugin
        self._function = function
        self._path = path
        self.down_handler: str | None = None

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def down(self, function: F) -> F:
        """The handler that takes it back, run in the release that is left. Without one the old data is restored."""
        if self.down_handler is not None:
            raise ManifestError("declared twice", path=f"{self._path}.down")
        self.down_handler = self._plugin._register(function, "nothing", f"{self._path}.down")  # pyright: ignore[reportPrivateUsage]  # a part of it
        return function


_PARTS = (
    "filters", "events", "functions", "routes", "schedules", "webhooks", "widgets", "pages", "menu", "tables",
    "migrations", "field_types", "connections",
)  # fmt: skip


class Plugin:
    """Declares a plugin. A package's `plugin.py` defines exactly one, named `plugin`.

    Args:
        slug: Unique name in the marketplace: lower-case words joined by hyphens.
        version: Semantic version of the release.
        permissions: What the tenant must grant before it can be installed.
        optional_permissions: What the tenant may leave out.
        permission_reasons: Permission → why it is asked for, shown in the consent dialog.
        permission_filters: Permission of an entity → the rows that it is asked for, as `[("city", "eq", "Berlin")]`.
        requires: Other plugins it needs: slug → version range.
        uses: Other plugins that it works with when they are there: slug → version range.
        limits: Largest memory, time and number of capability calls it needs.
    """

    def __init__(
        self,
        slug: str,
        *,
        version: str,
        name: str = "",
        summary: str = "",
        description: str = "",
        category: str = "utility",
        tags: list[str] | None = None,
        icon: str = "",
        licence: str = "",
        author: str = "",
        homepage: str = "",
        repository: str = "",
        support: str = "",
        changelog: str = "",
        screenshots: list[str] | None = None,
        platform: str = ">=0.1",
        permissions: list[str] | None = None,
        optional_permissions: list[str] | None = None,
        permission_reasons: dict[str, str] | None = None,
        permission_filters: dict[str, list[Any]] | None = None,
        requires: dict[str, str] | None = None,
        uses: dict[str, str] | None = None,
        gateways: list[str] | None = None,
        data_adapters: list[str] | None = None,
        limits: m.Limits | None = None,
        price: m.Price | None = None,
        emits: dict[str, Any] | None = None,
        translations: dict[str, dict[str, str]] | None = None,
    ) -> None:
        self.slug = slug
        self.version = version
        # A tuple and one list, put in order when the manifest is asked for: an isolate never asks, and pays for each
        # name that is looked at with a page of memory.
        self._head = (
            name, summary, description, category, tags, icon, licence, author, homepage, repository, support, changelog,
            screenshots, platform, permissions, optional_permissions, permission_reasons, gateways, data_adapters,
            translations, permission_filters,
        )  # fmt: skip
        self.translations = translations or {}
        self._limits = limits
        self._price = price
        self._requires = [m.PluginDependency(slug=s, versions=v) for s, v in (requires or {}).items()]
        self._requires += [m.PluginDependency(slug=s, versions=v, optional=True) for s, v in (uses or {}).items()]
        self._emits = emits or {}
        self._parts: list[tuple[str, Callable[[], Any]]] = []
        self._lifecycle: dict[str, Any] = {}
        self._health: m.HealthCheck | None = None
        self._config_validate: str | None = None
        self._config_class: type | None = None
        self._config_type: type[msgspec.Struct] | None = None
        self._table_classes: dict[str, type] = {}
        self.handlers: dict[str, Handler] = {}

    # -- what it contributes -------------------------------------------------------------------------------------

    def filter(
        self,
        hook: str,
        *,
        priority: int = 100,
        when: str | None = None,
        timeout_ms: int = 500,
        on_error: Literal["continue", "abort"] = "continue",
        observe: bool = False,
    ) -> Callable[[F], F]:
        """A handler that receives the value of a filter hook and returns it, changed or not.

        Nothing returned means nothing changed. It vetoes by raising `VetoError`. A handler that takes a struct sees
        some of the host's fields; the others pass through untouched. Handlers run by ascending priority. `when` is a
        CEL condition over the payload, evaluated before the plugin is woken. With `on_error="abort"` a failure stops
        the host's operation. With `observe=True` the handler only looks: it is given the value that comes out in the
        end, at the same time as all others that look; what it returns or raises changes nothing.
        """

        def add(function: F) -> F:
            key = self._register(function, "payload", f"filter {hook}")
            self._parts.append(
                (
                    "filters",
                    lambda: m.Filter(
                        hook=hook,
                        handler=key,
                        priority=priority,
                        when=when,
                        timeout_ms=timeout_ms,
                        on_error=on_error,
                        observe=observe,
                    ),
                )
            )
            return function

        return add

    def on(
        self, event: str, *, when: str | None = None, ordered: bool = True, retries: int = 5, timeout_ms: int = 10_000
    ) -> Callable[[F], F]:
        """A handler of an event, called at least once per event; `ctx.delivery.id` is the same on every attempt."""

        def add(function: F) -> F:
            key = self._register(function, "payload", f"event {event}")
            self._parts.append(
                (
                    "events",
                    lambda: m.EventHandler(
                        event=event, handler=key, when=when, ordered=ordered, retries=retries, timeout_ms=timeout_ms
                    ),
                )
            )
            return function

        return add

    def function(
        self,
        name: str | None = None,
        *,
        description: str = "",
        read_only: bool = False,
        idempotent: bool = False,
        destructive: bool = False,
        public: bool = False,
        role: Literal["member", "admin", "owner"] = "member",
        timeout_ms: int = 10_000,
        examples: list[dict[str, Any]] | None = None,
    ) -> Callable[[F], F]:
        """A typed function. Its parameters and return type become the schema that callers see and that is enforced."""

        def add(function: F) -> F:
            label = name or function.__name__
            path = f"function {label}"
            key = self._register(function, "arguments", path)
            self._parts.append(("functions", lambda: m.Function(
                    name=label, handler=key, description=description or _summary(function), read_only=read_only,
                    parameters=json_schema_of(self.handlers[key].payload, path=path),
                    returns=json_schema_of(return_type(function, path=path), path=path), idempotent=idempotent,
                    destructive=destructive, public=public, role=role, timeout_ms=timeout_ms,
                    examples=[m.FunctionExample(arguments=example) for example in examples or []],
                )))  # fmt: skip
            return function

        return add

    def route(
        self,
        method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"],
        path: str,
        *,
        auth: Literal["public", "member", "admin", "owner"] = "member",
        rate_limit_per_minute: int = 600,
        timeout_ms: int = 10_000,
        description: str = "",
    ) -> Callable[[F], F]:
        """An HTTP route below `/api/plugins/{slug}/api`.

        The handler takes a `Request` and returns data, answered as JSON, or a `Response`.
        """

        def add(function: F) -> F:
            key = self._register(function, "request", f"route {method} {path}")
            self._parts.append(("routes", lambda: m.Route(
                    method=method, path=path, handler=key, auth=auth, rate_limit_per_minute=rate_limit_per_minute,
                    timeout_ms=timeout_ms, description=description or _summary(function),
                )))  # fmt: skip
            return function

        return add

    def widget(
        self, slot: str, *, title: str = "", order: int = 100, when: str | None = None, timeout_ms: int = 1_000
    ) -> Callable[[F], F]:
        """A declarative widget for a slot; the handler returns a `ui` node."""

        def add(function: F) -> F:
            key = self._register(function, "payload", f"widget {slot}")
            self._parts.append(
                (
                    "widgets",
                    lambda: m.Widget(
                        slot=slot, handler=key, title=title, order=order, when=when, timeout_ms=timeout_ms
                    ),
                )
            )
            return function

        return add

    def table(
        self,
        name: str,
        *,
        indexes: list[list[str]] | None = None,
        unique: list[list[str]] | None = None,
        references: dict[str, str] | None = None,
        on_delete: dict[str, Literal["refuse", "cascade", "set_null"]] | None = None,
    ) -> Callable[[C], C]:
        """A table of the plugin's own, from an annotated class. The platform adds the key `id`.

        Args:
            indexes: Groups of columns that rows are looked for or sorted by: equality on the first ones, then a range
                or the order of the next one.
            unique: Groups of columns of which no two rows may hold the same values.
            references: Column → table of this plugin whose `id` it holds. The platform sees to it that it is there.
            on_delete: Such a column → what becomes of the row when the other one is deleted; `refuse` when left out.
        """

        def add(cls: C) -> C:
            def declaration() -> m.Table:
                path = f"table {name}"
                schema = json_schema_of(struct_of_class(cls, path=path), path=path)
                return m.Table(
                    name=name, columns=_own_columns(schema), required=schema.get("required", []), indexes=indexes or [],
                    unique=unique or [], references=references or {}, on_delete=on_delete or {},
                )  # fmt: skip

            self._parts.append(("tables", declaration))
            self._table_classes[name] = cls
            return cls

        return add

    def migration(
        self, *, to: str, name: str | None = None, timeout_ms: int = 60_000
    ) -> Callable[[AnyFunction], Migration]:
        """A change of the data from one release to another, run once when an installation is updated across `to`.

        The handler works on a copy with `ctx.migration` and `ctx.tables`, in the new release; until all have ended the
        old one is at work. `@THIS.down` gives the way back. Its name stays the same for ever: by it, the platform knows
        what has run.

        Args:
            to: The version that begins with it.
        """

        def add(function: AnyFunction) -> Migration:
            label = name or function.__name__
            migration = Migration(self, function, f"migration {label}")
            key = self._register(function, "nothing", f"migration {label}")
            self._parts.append(("migrations", lambda: m.Migration(
                    name=label, to_version=to, up=key, down=migration.down_handler, timeout_ms=timeout_ms
                )))  # fmt: skip
            return migration

        return add

    def table_type(self, name: str) -> type[msgspec.Struct]:
        """The struct of a declared table's rows, `id` left out.

        Raises:
            KeyError: There is no such table.
        """
        return struct_of_class(self._table_classes[name], path=f"table {name}")

    def schedule(
        self,
        cron: str,
        *,
        name: str | None = None,
        timezone: str = "UTC",
        jitter_s: int = 0,
        catch_up: Literal["once", "skip"] = "skip",
        timeout_ms: int = 60_000,
    ) -> Callable[[F], F]:
        """A handler that runs at the times of a cron expression."""

        def add(function: F) -> F:
            key = self._register(function, "nothing", f"schedule {cron}")
            self._parts.append(("schedules", lambda: m.Schedule(
                    name=name or function.__name__, handler=key, cron=cron, timezone=timezone, jitter_s=jitter_s,
                    catch_up=catch_up, timeout_ms=timeout_ms,
                )))  # fmt: skip
            return function

        return add

    def webhook(
        self,
        name: str,
        *,
        verify: Literal[
            "none", "hmac-sha256", "standard-webhooks", "stripe", "telegram", "github"
        ] = "standard-webhooks",
        secret: str | None = None,
        header: str | None = None,
        timeout_ms: int = 10_000,
    ) -> Callable[[F], F]:
        """A handler of an inbound webhook, called with the `Request` after its sender was answered.

        What it returns is not sent; what it raises has it called again, with the same `ctx.delivery.id`.

        Args:
            verify: How the sender proves that it is the sender. `none`: by knowing the address.
            secret: The configuration field with the sender's secret. An admin may enter two with a space between.
            header: Where `hmac-sha256` finds the signature of the body, in hex or base64; `X-Signature` if left out.
        """

        def add(function: F) -> F:
            key = self._register(function, "request", f"webhook {name}")
            self._parts.append(
                (
                    "webhooks",
                    lambda: m.Webhook(
                        name=name, handler=key, verify=verify, secret=secret, header=header, timeout_ms=timeout_ms
                    ),
                )
            )
            return function

        return add

    def connection(
        self,
        name: str,
        kind: Literal["api-key", "basic", "bearer", "oauth2", "oauth2-client-credentials"],
        *,
        hosts: list[str],
        title: str = "",
        reason: str = "",
        authorization_url: str | None = None,
        token_url: str | None = None,
        revocation_url: str | None = None,
        scopes: list[str] | None = None,
    ) -> None:
        """An account elsewhere that an admin connects; `ctx.connections[name].handle` stands for it in requests.

        Args:
            hosts: To which the credentials are sent, as `api.example.com`; ask for `http:HOST` of each as well.
            authorization_url, token_url, revocation_url: Of the OAuth2 server; an admin enters them when left out.
        """
        self._parts.append(("connections", lambda: m.Connection(
                name=name, kind=kind, hosts=hosts, title=title, reason=reason, authorization_url=authorization_url,
                token_url=token_url, revocation_url=revocation_url, scopes=scopes or [],
            )))  # fmt: skip

    # -- configuration, life cycle, health -----------------------------------------------------------------------

    def config(self, cls: C) -> C:
        """The configuration, from an annotated class with defaults. The settings form is made from it."""
        if self._config_class is not None:
            raise ManifestError("declared twice", path="config")
        self._config_class = cls
        return cls

    @property
    def config_type(self) -> type[msgspec.Struct] | None:
        """The configuration's struct; None when the plugin has none."""
        if self._config_type is None and self._config_class is not None:
            self._config_type = struct_of_class(self._config_class, path="config")
        return self._config_type

    @property
    def event_types(self) -> dict[str, Any]:
        """The plugin's own events, with the types of their payloads."""
        return dict(self._emits)

    def config_check(self, function: F) -> F:
        """A handler that tests a configuration before it is saved; it raises `UserError` to refuse it."""
        self._config_validate = self._register(function, "nothing", "config_check")
        return function

    def on_install(self, function: F) -> F:
        """Runs once, before the plugin is activated; a failure undoes the whole installation."""
        return self._hook("on_install", function)

    def on_activate(self, function: F) -> F:
        """Runs each time the plugin is activated; a failure leaves it deactivated."""
        return self._hook("on_activate", function)

    def on_configure(self, function: F) -> F:
        """Runs with the new configuration; a failure keeps the old one."""
        return self._hook("on_configure", function)

    def on_deactivate(self, function: F) -> F:
        """Runs each time the plugin is deactivated; a failure is recorded and does not stop it."""
        return self._hook("on_deactivate", function)

    def on_update(self, function: F) -> F:
        """Runs in the new release after its migrations; a failure undoes the update."""
        return self._hook("on_update", function)

    def on_uninstall(self, function: F) -> F:
        """Runs before the plugin's data is removed; a failure is recorded and does not stop it."""
        return self._hook("on_uninstall", function)

    def health(self, function: F) -> F:
        """A handler that returns a `Health`, or raises."""
        self._health = m.HealthCheck(handler=self._register(function, "nothing", "health"))
        return function

    def _hook(self, name: str, function: F) -> F:
        if name in self._lifecycle:
            raise ManifestError("declared twice", path=f"lifecycle.{name}")
        self._lifecycle[name] = self._register(function, "nothing", name)
        return function

    # -- the whole -----------------------------------------------------------------------------------------------

    def manifest(self) -> m.Manifest:
        """The manifest, checked as the registry checks it.

        Raises:
            ManifestError: Something declared here cannot be accepted.
        """
        for handler in self.handlers.values():
            handler.payload  # noqa: B018  # looks at the signature and raises when it does not fit
        parts: dict[str, list[Any]] = {kind: [] for kind in _PARTS}
        for kind, declare in self._parts:
            parts[kind].append(declare())
        draft = {
            "slug": self.slug, "version": self.version, **self._described(), "requires": self._requires,
            "price": self._price, "limits": self._limits or m.Limits(),
            "python": f"{sys.version_info.major}.{sys.version_info.minor}",
            "emits": {event: json_schema_of(type_, path=f"emits.{event}") for event, type_ in self._emits.items()},
            "config": self._config_section(), "lifecycle": self._lifecycle, "health": self._health, **parts,
        }  # fmt: skip
        try:
            plain = msgspec.to_builtins(draft)
        except (TypeError, RecursionError) as error:
            raise ManifestError(f"not plain data: {error}", hint="A manifest carries what JSON can.") from error
        return m.parse_manifest(plain)

    def _described(self) -> dict[str, Any]:
        (
            name, summary, description, category, tags, icon, licence, author, homepage, repository, support, changelog,
            screenshots, platform, permissions, optional_permissions, permission_reasons, gateways, data_adapters,
            translations, permission_filters,
        ) = self._head  # fmt: skip
        return {
            "name": name or self.slug.replace("-", " ").capitalize(), "summary": summary, "description": description,
            "category": category, "tags": tags or [], "icon": icon, "licence": licence, "author": author,
            "homepage": homepage, "repository": repository, "support": support, "changelog": changelog,
            "screenshots": screenshots or [], "platform": platform, "permissions": permissions or [],
            "optional_permissions": optional_permissions or [], "permission_reasons": permission_reasons or {},
            "gateways": gateways or [], "data_adapters": data_adapters or [], "translations": translations or {},
            "permission_filters": permission_filters or {},
        }  # fmt: skip

    def _config_section(self) -> m.ConfigSection | None:
        if self.config_type is None:
            return None
        secrets = secret_fields(self.config_type, path="config")
        return m.ConfigSection(
            schema=json_schema_of(self.config_type, path="config"), secrets=secrets,
            secret_hosts=secret_hosts(self.config_type), validate=self._config_validate,
        )  # fmt: skip

    def _register(self, function: AnyFunction, takes: Takes, path: str) -> str:
        if not isinstance(function, FunctionType):
            raise ManifestError("a handler is a plain function", path=path)
        key = function.__name__
        known = self.handlers.get(key)
        if known is None:
            self.handlers[key] = Handler(function, takes, path)
        elif known.function is not function or known.takes != takes:
            raise ManifestError(f"two handlers are named `{key}`", path=path, hint="Give each its own name.")
        return key


def _own_columns(schema: dict[str, Any]) -> dict[str, Any]:
    """Each column's schema as a document of its own: it brings along the definitions that it may refer to."""
    definitions = schema.get("$defs", {})
    return {
        name: {**column, "$defs": definitions} if b'"$ref"' in msgspec.json.encode(column) else column
        for name, column in schema["properties"].items()
    }


def _summary(function: AnyFunction) -> str:
    return (inspect.getdoc(function) or "").partition("\n\n")[0].replace("\n", " ")
