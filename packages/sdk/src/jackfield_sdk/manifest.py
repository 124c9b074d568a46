"""The manifest's one definition: author, registry and runtime all read this.

A manifest is data. It is derived from the author's typed Python when a package is made, frozen into the signed package,
and never computed again: nothing is executed to learn what a release contributes and what it asks for.

Units: `*_ms` milliseconds, `*_bytes` bytes, `memory_mb` mebibytes. Schemas are JSON Schema 2020-12.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, cast, get_args, get_origin

import msgspec
from msgspec import Meta

from jackfield_sdk.errors import ManifestError

__all__ = [
    "CATEGORIES",
    "MANIFEST_VERSION",
    "ConfigSection",
    "Connection",
    "EventHandler",
    "FieldType",
    "Filter",
    "Function",
    "FunctionExample",
    "HealthCheck",
    "Lifecycle",
    "Limits",
    "Manifest",
    "MenuItem",
    "Migration",
    "Page",
    "PluginDependency",
    "Price",
    "Route",
    "Schedule",
    "Table",
    "Webhook",
    "Widget",
    "json_schema",
    "parse_manifest",
]

MANIFEST_VERSION = 1

CATEGORIES = (
    "analytics", "auth", "automation", "booking", "calendar", "communication", "crm", "forms", "integration", "loyalty",
    "marketing", "payment", "reporting", "shipping", "utility",
)  # fmt: skip

JsonSchema = dict[str, Any]
# `$` alone would let a trailing line feed through; hence `$(?!\n)` below.
Slug = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$(?!\n)", max_length=64)]
Identifier = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$(?!\n)", max_length=64)]
TableName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*$(?!\n)", max_length=48)]
ColumnGroup = Annotated[list[TableName], Meta(max_length=16)]
HookName = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_-]*(\.[A-Za-z][A-Za-z0-9_-]*)+$(?!\n)", max_length=96)]
SlotName = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9]*(\.[A-Za-z][A-Za-z0-9]*)+$(?!\n)", max_length=96)]
Condition = Annotated[str, Meta(max_length=1000)]
Version = Annotated[
    str,
    Meta(
        pattern=r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?$(?!\n)",
        max_length=64,
        description="Semantic version 2.0.0, without build metadata",
    ),
]
Permission = Annotated[str, Meta(pattern=r"^[A-Za-z*][A-Za-z0-9_.*-]*(:[A-Za-z0-9_.*:/-]+)?$(?!\n)", max_length=200)]
HostPattern = Annotated[
    str, Meta(pattern=r"^(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?(:[1-9][0-9]{0,4})?$(?!\n)", max_length=190)
]
HttpsUrl = Annotated[str, Meta(pattern=r"^https://[A-Za-z0-9.-]+(:[1-9][0-9]{0,4})?(/[!-~]*)?$(?!\n)", max_length=500)]
SecretHosts = Annotated[list[HostPattern], Meta(min_length=1, max_length=16)]
TimeoutMs = Annotated[int, Meta(ge=1, le=300_000)]
ShortText = Annotated[str, Meta(max_length=200)]
LongText = Annotated[str, Meta(max_length=20_000)]
RowFilter = Annotated[list[Any], Meta(min_length=1, max_length=64)]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One part of a manifest; unknown keys are refused."""


class Filter(_Part, frozen=True, kw_only=True):
    """A synchronous handler that may change or veto the value the host passes through a hook point.

    Attributes:
        observe: It only looks: it is given the value that comes out in the end, beside all others that look.
    """

    hook: HookName
    handler: Identifier
    priority: Annotated[int, Meta(ge=-1000, le=1000)] = 100
    when: Condition | None = None
    timeout_ms: TimeoutMs = 500
    on_error: Literal["continue", "abort"] = "continue"
    observe: bool = False


class EventHandler(_Part, frozen=True, kw_only=True):
    """A handler of a durable event, delivered at least once."""

    event: HookName
    handler: Identifier
    when: Condition | None = None
    ordered: bool = True
    retries: Annotated[int, Meta(ge=0, le=20)] = 5
    timeout_ms: TimeoutMs = 10_000


class FunctionExample(_Part, frozen=True, kw_only=True):
    """Arguments of a function, and what they are for."""

    arguments: dict[str, Any]
    title: ShortText = ""


class Function(_Part, frozen=True, kw_only=True):
    """A typed function that the host, a member, another plugin or an agent may call."""

    name: Identifier
    handler: Identifier
    description: LongText = ""
    parameters: JsonSchema
    returns: JsonSchema
    read_only: bool = False
    idempotent: bool = False
    destructive: bool = False
    public: bool = False
    """Whether other plugins may call it through a declared dependency."""
    role: Literal["member", "admin", "owner"] = "member"
    timeout_ms: TimeoutMs = 10_000
    examples: Annotated[list[FunctionExample], Meta(max_length=32)] = []


class Route(_Part, frozen=True, kw_only=True):
    """An HTTP route below `/api/plugins/{slug}/api`."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: Annotated[
        str, Meta(pattern=r"^(?:(/[A-Za-z0-9_.~-]+|/\{[A-Za-z_][A-Za-z0-9_]*\})+|/)$(?!\n)", max_length=200)
    ]
    handler: Identifier
    description: LongText = ""
    auth: Literal["public", "member", "admin", "owner"] = "member"
    rate_limit_per_minute: Annotated[int, Meta(ge=1, le=100_000)] = 600
    timeout_ms: TimeoutMs = 10_000


class Widget(_Part, frozen=True, kw_only=True):
    """A declarative widget for a slot of the host's UI."""

    slot: SlotName
    handler: Identifier
    title: ShortText = ""
    order: Annotated[int, Meta(ge=-1000, le=1000)] = 100
    when: Condition | None = None
    timeout_ms: TimeoutMs = 1_000


class Table(_Part, frozen=True, kw_only=True):
    """A table of the plugin's own; rows belong to one installation. The platform adds the key `id`."""

    name: TableName
    columns: Annotated[dict[TableName, JsonSchema], Meta(max_length=256)]
    required: Annotated[list[TableName], Meta(max_length=256)] = []
    indexes: Annotated[list[ColumnGroup], Meta(max_length=32)] = []
    unique: Annotated[list[ColumnGroup], Meta(max_length=32)] = []
    references: Annotated[dict[TableName, TableName], Meta(max_length=256)] = {}
    """Column → table of this plugin whose `id` it holds."""
    on_delete: Annotated[dict[TableName, Literal["refuse", "cascade", "set_null"]], Meta(max_length=256)] = {}
    """Referring column → what becomes of a row when the row that it refers to is deleted; `refuse` keeps both."""


class Migration(_Part, frozen=True, kw_only=True):
    """A reversible change of tables between two releases."""

    name: Identifier
    to_version: Version
    up: Identifier
    down: Identifier | None = None
    """Without one, going back restores the data as it was before, and what was written since goes to an export."""
    timeout_ms: TimeoutMs = 60_000


class Schedule(_Part, frozen=True, kw_only=True):
    """A handler that runs at the times of a cron expression."""

    name: Identifier
    handler: Identifier
    cron: Annotated[str, Meta(max_length=120)]
    timezone: Annotated[str, Meta(max_length=64)] = "UTC"
    jitter_s: Annotated[int, Meta(ge=0, le=3600)] = 0
    catch_up: Literal["once", "skip"] = "skip"
    timeout_ms: TimeoutMs = 60_000


class Webhook(_Part, frozen=True, kw_only=True):
    """An inbound webhook with the verification that its sender supports."""

    name: Identifier
    handler: Identifier
    verify: Literal["none", "hmac-sha256", "standard-webhooks", "stripe", "telegram", "github"] = "standard-webhooks"
    secret: Identifier | None = None
    """Name of the secret configuration field that holds the key; only `none` does without."""
    header: Annotated[str, Meta(max_length=100, pattern=r"^[A-Za-z0-9-]+$(?!\n)")] | None = None
    """Where `hmac-sha256` finds the signature; `X-Signature` when left out."""
    timeout_ms: TimeoutMs = 10_000


class Page(_Part, frozen=True, kw_only=True):
    """A page of the plugin in the host's UI."""

    path: Annotated[str, Meta(pattern=r"^/[A-Za-z0-9/_-]*$(?!\n)", max_length=120)]
    title: ShortText
    handler: Identifier
    role: Literal["member", "admin", "owner"] = "member"
    timeout_ms: TimeoutMs = 2_000


class MenuItem(_Part, frozen=True, kw_only=True):
    """An entry in the host's navigation that opens a page of the plugin."""

    label: ShortText
    page: Annotated[str, Meta(max_length=120)]
    icon: ShortText = ""
    order: int = 100


class FieldType(_Part, frozen=True, kw_only=True):
    """A field type for the host's form builder."""

    name: Slug
    label: ShortText
    schema: JsonSchema
    render: Identifier
    validate: Identifier | None = None


class ConfigSection(_Part, frozen=True, kw_only=True):
    """The configuration form: a JSON Schema object with defaults. Secret fields have `format: secret`."""

    schema: JsonSchema
    secrets: Annotated[list[Identifier], Meta(max_length=64)] = []
    secret_hosts: Annotated[dict[Identifier, SecretHosts], Meta(max_length=64)] = {}
    """Secret → hosts that its value may be sent to in place of a handle, as in `http:HOST`. Code does not get to see
    it, unless `secrets:FIELD` is asked for."""
    validate: Identifier | None = None
    """Handler that tests a configuration before it is saved."""


class Lifecycle(_Part, frozen=True, kw_only=True):
    """Handlers for the plugin's own life cycle, run sealed like any other."""

    on_install: Identifier | None = None
    on_activate: Identifier | None = None
    on_configure: Identifier | None = None
    on_deactivate: Identifier | None = None
    on_update: Identifier | None = None
    on_uninstall: Identifier | None = None
    timeout_ms: TimeoutMs = 30_000


class HealthCheck(_Part, frozen=True, kw_only=True):
    """A handler that says whether the plugin can do its work."""

    handler: Identifier
    interval_s: Annotated[int, Meta(ge=10, le=86_400)] = 300
    timeout_ms: TimeoutMs = 2_000


class Limits(_Part, frozen=True, kw_only=True):
    """What the plugin needs at most. The platform's own limits apply when they are lower."""

    memory_mb: Annotated[int, Meta(ge=16, le=4096)] | None = None
    cpu_ms: Annotated[int, Meta(ge=10, le=300_000)] | None = None
    wall_ms: TimeoutMs | None = None
    host_calls: Annotated[int, Meta(ge=0, le=100_000)] | None = None
    concurrency: Annotated[int, Meta(ge=1, le=64)] | None = None
    result_bytes: Annotated[int, Meta(ge=1024, le=16 * 1024 * 1024)] | None = None
    host_call_bytes: Annotated[int, Meta(ge=1024, le=16 * 1024 * 1024)] | None = None
    output_bytes: Annotated[int, Meta(ge=1024, le=16 * 1024 * 1024)] | None = None
    payload_depth: Annotated[int, Meta(ge=4, le=64)] | None = None


class PluginDependency(_Part, frozen=True, kw_only=True):
    """Another plugin that this one needs, by version range (`>=1.2,<2`)."""

    slug: Slug
    versions: Annotated[str, Meta(max_length=100)]
    optional: bool = False


class Connection(_Part, frozen=True, kw_only=True):
    """An account elsewhere that an admin of the tenant connects. The plugin uses it by a handle (`ctx.connections`) in
    requests to its hosts, and never sees a credential."""

    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*$(?!\n)", max_length=32)]
    kind: Literal["api-key", "basic", "bearer", "oauth2", "oauth2-client-credentials"]
    hosts: SecretHosts
    title: ShortText = ""
    reason: ShortText = ""
    """Why it is needed, shown to whoever connects it."""
    authorization_url: HttpsUrl | None = None
    """Where a member agrees, for `oauth2`."""
    token_url: HttpsUrl | None = None
    """For both kinds of OAuth2, left out where each tenant has its own server."""
    revocation_url: HttpsUrl | None = None
    scopes: Annotated[
        list[Annotated[str, Meta(pattern=r"^[\x21\x23-\x5b\x5d-\x7e]+$(?!\n)", max_length=200)]], Meta(max_length=64)
    ] = []


class Price(_Part, frozen=True, kw_only=True):
    """What a tenant pays; free when absent."""

    amount: Annotated[str, Meta(pattern=r"^\d{1,9}(\.\d{1,4})?$(?!\n)")]
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)")]
    period: Literal["once", "month", "year"] = "month"
    trial_days: Annotated[int, Meta(ge=0, le=365)] = 0


class Manifest(_Part, frozen=True, kw_only=True):
    """Everything a release contributes and everything it asks for."""

    manifest_version: Literal[1] = 1
    slug: Slug
    version: Version
    name: Annotated[str, Meta(min_length=1, max_length=80)]
    summary: ShortText = ""
    description: LongText = ""
    category: Annotated[str, Meta(max_length=40)] = "utility"
    tags: Annotated[list[Annotated[str, Meta(max_length=40)]], Meta(max_length=32)] = []
    icon: ShortText = ""
    licence: ShortText = ""
    author: ShortText = ""
    homepage: ShortText = ""
    repository: ShortText = ""
    support: ShortText = ""
    screenshots: Annotated[list[ShortText], Meta(max_length=32)] = []
    changelog: LongText = ""

    platform: Annotated[str, Meta(max_length=100)] = ">=0.1"
    """Range of platform versions it runs on."""
    python: Annotated[str, Meta(pattern=r"^3\.\d{1,2}$(?!\n)")] = "3.11"
    """The language version that the package was made with."""
    entry: Annotated[str, Meta(pattern=r"^[a-z_][a-z0-9_]*$(?!\n)", max_length=64)] = "plugin"
    limits: Limits = Limits()
    gateways: Annotated[list[Annotated[str, Meta(max_length=40)]], Meta(max_length=32)] = []
    """Kinds of gateway that must be connected before it receives their events."""
    data_adapters: Annotated[list[Annotated[str, Meta(max_length=40)]], Meta(max_length=32)] = []
    connections: Annotated[list[Connection], Meta(max_length=16)] = []
    requires: Annotated[list[PluginDependency], Meta(max_length=64)] = []
    price: Price | None = None

    permissions: Annotated[list[Permission], Meta(max_length=128)] = []
    optional_permissions: Annotated[list[Permission], Meta(max_length=128)] = []
    permission_reasons: Annotated[dict[Permission, ShortText], Meta(max_length=256)] = {}
    """Permission → why it is asked for, shown in the consent dialog."""
    permission_filters: Annotated[dict[Permission, RowFilter], Meta(max_length=64)] = {}
    """Permission of an entity → the rows that it is asked for, as conditions that all must hold."""

    config: ConfigSection | None = None
    filters: Annotated[list[Filter], Meta(max_length=64)] = []
    events: Annotated[list[EventHandler], Meta(max_length=128)] = []
    emits: Annotated[dict[HookName, JsonSchema], Meta(max_length=128)] = {}
    """The plugin's own events, with the schema of their payload."""
    functions: Annotated[list[Function], Meta(max_length=256)] = []
    routes: Annotated[list[Route], Meta(max_length=128)] = []
    schedules: Annotated[list[Schedule], Meta(max_length=32)] = []
    webhooks: Annotated[list[Webhook], Meta(max_length=32)] = []
    widgets: Annotated[list[Widget], Meta(max_length=32)] = []
    pages: Annotated[list[Page], Meta(max_length=32)] = []
    menu: Annotated[list[MenuItem], Meta(max_length=32)] = []
    tables: Annotated[list[Table], Meta(max_length=64)] = []
    migrations: Annotated[list[Migration], Meta(max_length=128)] = []
    field_types: Annotated[list[FieldType], Meta(max_length=32)] = []
    lifecycle: Lifecycle = Lifecycle()
    health: HealthCheck | None = None
    translations: dict[Annotated[str, Meta(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$(?!\n)")], dict[str, str]] = {}

    def encode(self) -> bytes:
        """Canonical bytes: JSON with sorted keys; the same manifest always gives the same bytes."""
        return msgspec.json.encode(msgspec.to_builtins(self), order="deterministic")


_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>[^`]*)`(?: - at `\$?(?P<path>[^`]*)`)?")
_AT = re.compile(r"(?P<text>.*?) - at `(?:key` in `)?\$?\.?(?P<path>[^`]*)`$", re.DOTALL)
_MAX_BYTES = 1_000_000
_MAX_SCHEMA_DEPTH = 64
_MAX_DEPTH = 80
# Control characters but tabs and line ends, what reverses text, and what cannot be seen: people consent to what they
# read here, and agents are told what a function does. Joiners and direction marks stay: scripts need them.
_HIDDEN = re.compile(
    "[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
    "\ud800-\udfff]"
)
_LINK = re.compile(r"https?://[^\s\"'<>`]+|mailto:[^\s\"'<>`]+|[^:]*")
_LINKS = ("homepage", "repository", "support", "icon")
_MAX_TOLD_CHARS = 300
"""Of what an error repeats: a key of a megabyte is not sent back."""
_FORMS = {
    "slug": "Lower-case words joined by hyphens, as `loyalty-points`.",
    "version": "A semantic version, as `1.2.3`.",
    "to_version": "A semantic version, as `1.2.3`.",
    "hook": "Joined by dots, as `booking.beforeCreate`.",
    "event": "Joined by dots, as `sale.created`.",
    "emits": "Joined by dots, as `loyalty-points.redeemed`.",
    "slot": "Joined by dots, as `POS.AfterCheckout`.",
    "path": "As `/points/{customer_id}`.",
    "permissions": "As `customers:read`.",
    "optional_permissions": "As `customers:read`.",
    "columns": "Lower-case words joined by underscores.",
}
"""Field → what its values look like, for when a pattern does not match."""


def parse_manifest(data: bytes | dict[str, Any]) -> Manifest:
    """Read and check a manifest.

    Raises:
        ManifestError: With the path of the first thing that is wrong and, for an unknown key, the closest known one.
    """
    try:
        if isinstance(data, bytes):
            if len(data) > _MAX_BYTES:
                raise ManifestError(f"larger than {_MAX_BYTES} bytes")
            data = msgspec.json.decode(data)
        manifest = msgspec.convert(data, Manifest)
    except msgspec.ValidationError as error:
        raise _explain(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestError(f"not valid JSON: {error}") from error
    _check_whole(manifest)
    return manifest


def json_schema() -> JsonSchema:
    """JSON Schema of the manifest, for editors and for the reference page."""
    return msgspec.json.schema(Manifest)


def _explain(text: str) -> ManifestError:
    if match := _UNKNOWN.match(text):
        key, path = _told(match["key"]), _told((match["path"] or "").lstrip("."))
        close = difflib.get_close_matches(key, _known_keys(path), n=1)
        where = f"{path}.{key}" if path else key
        return ManifestError("unknown key", path=where, hint=f"Did you mean `{close[0]}`?" if close else "Remove it.")
    if match := _AT.match(text):
        what, path = _told(match["text"]), _told(match["path"])
        return ManifestError(what, path=path, hint=_form(what, path))
    return ManifestError(_told(text))


def _told(text: str) -> str:
    return text if len(text) <= _MAX_TOLD_CHARS else f"{text[:_MAX_TOLD_CHARS]}…"


def _form(text: str, path: str) -> str:
    """What would be accepted at a path."""
    steps = re.findall(r"[A-Za-z_]\w*", path)
    if not steps:
        return ""
    choices = _choices(_type_at(steps))
    if choices and (wrong := re.search(r"'([^']*)'", text)):
        close = difflib.get_close_matches(wrong[1], choices, n=1)
        return f"Did you mean `{close[0]}`?" if close else f"One of: {', '.join(choices)}."
    return _FORMS.get(steps[-1], "") if "regex" in text else ""


def _known_keys(path: str) -> list[str]:
    """Field names of the struct that lies at a path such as `functions[0].examples[1]`."""
    struct = _struct_within(_type_at(re.findall(r"[A-Za-z_]\w*", path)))
    return [] if struct is None else [field.encode_name for field in msgspec.structs.fields(struct)]


def _type_at(steps: list[str]) -> Any:
    """The annotation that a path of field names leads to; None when it leads nowhere we know."""
    here: Any = Manifest
    for step in steps:
        struct = _struct_within(here)
        fields = () if struct is None else msgspec.structs.fields(struct)
        here = next((field.type for field in fields if field.encode_name == step), None)
    return here


def _struct_within(annotation: Any) -> type[msgspec.Struct] | None:
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _struct_within(inner)) is not None), None)


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    return [choice for inner in get_args(annotation) for choice in _choices(inner)]


def _check_whole(manifest: Manifest) -> None:
    """The rules that span several parts."""
    _unique("functions", [f.name for f in manifest.functions])
    _unique("tables", [t.name for t in manifest.tables])
    _unique("routes", [f"{r.method} {re.sub(r'{[^}]*}', '{}', r.path)}" for r in manifest.routes])
    _unique("schedules", [s.name for s in manifest.schedules])
    _unique("webhooks", [w.name for w in manifest.webhooks])
    _unique("pages", [p.path for p in manifest.pages])
    _unique("connections", [c.name for c in manifest.connections])
    for index, part in enumerate(manifest.filters):
        if part.observe and part.on_error == "abort":
            raise ManifestError(
                "what only looks cannot stop the host", path=f"filters[{index}].on_error",
                hint="Leave out `observe` or `on_error`.",
            )  # fmt: skip
    for index, connection in enumerate(manifest.connections):
        if connection.name == "data":
            raise ManifestError(
                "`data` is what serves `ctx.data`", path=f"connections[{index}].name", hint="Choose another name."
            )
        if not connection.kind.startswith("oauth2") and (connection.token_url or connection.authorization_url):
            raise ManifestError("only OAuth2 has such URLs", path=f"connections[{index}].kind", hint="Write `oauth2`.")
    _unique("migrations", [migration.name for migration in manifest.migrations])
    for index, migration in enumerate(manifest.migrations):
        if _core(migration.to_version) > _core(manifest.version):
            raise ManifestError(
                f"leads to {migration.to_version}, beyond this release", path=f"migrations[{index}].to_version"
            )
    _unique("requires", [r.slug for r in manifest.requires])
    _unique("permissions", [*manifest.permissions, *manifest.optional_permissions])
    if any(dependency.slug == manifest.slug for dependency in manifest.requires):
        raise ManifestError("a plugin cannot require itself", path="requires")
    asked = {*manifest.permissions, *manifest.optional_permissions}
    for permission in manifest.permission_reasons:
        if permission not in asked:
            raise ManifestError("not a permission that is asked for", path=f"permission_reasons.{permission}")
    if manifest.permission_filters:
        # Rare, and no part of what an isolate loads.
        from jackfield_sdk.row_filters import check_row_filters

        check_row_filters(manifest.permission_filters, asked)
    names = {table.name for table in manifest.tables}
    for index, table in enumerate(manifest.tables):
        if "id" in table.columns:
            raise ManifestError("`id` is added by the platform", path=f"tables[{index}].columns")
        used = {*table.required, *table.references, *(c for group in [*table.indexes, *table.unique] for c in group)}
        if unknown := sorted(used - set(table.columns) - {"id"}):
            raise ManifestError(f"no such column: {unknown[0]}", path=f"tables[{index}]")
        if unknown := sorted(set(table.on_delete) - set(table.references)):
            raise ManifestError(f"`{unknown[0]}` refers to no table", path=f"tables[{index}].on_delete")
        if missing := sorted(set(table.references.values()) - names):
            raise ManifestError(f"there is no table `{missing[0]}`", path=f"tables[{index}].references")
    _check_config(manifest)
    for index, item in enumerate(manifest.menu):
        if item.page not in {page.path for page in manifest.pages}:
            raise ManifestError(f"there is no page `{item.page}`", path=f"menu[{index}].page")
    for name in manifest.emits:
        if name.partition(".")[0] != manifest.slug:
            raise ManifestError(f"own events begin with the plugin's slug: {manifest.slug}.…", path=f"emits.{name}")
    for path, schema in _schemas(manifest):
        _check_schema(schema, path)
    _check_texts(manifest)


def _core(version: str) -> tuple[int, ...]:
    """Major, minor, patch: a pre-release has the migrations of the release that it leads to."""
    return tuple(int(part) for part in version.partition("-")[0].split("."))


def _check_texts(manifest: Manifest) -> None:
    """Nothing in it hides from those who read it, no link runs a script, and nothing is nested without end."""
    level: list[tuple[str, Any]] = [("", manifest)]
    for _ in range(_MAX_DEPTH):
        deeper: list[tuple[str, Any]] = []
        for path, value in level:
            if isinstance(value, str):
                if _HIDDEN.search(value):
                    raise ManifestError("a text has characters that cannot be seen", path=path, hint="Remove them.")
            elif isinstance(value, msgspec.Struct):
                prefix = f"{path}." if path else ""
                deeper += [(prefix + name, getattr(value, name)) for name in value.__struct_fields__]
            elif isinstance(value, dict):
                for key, inner in cast("dict[Any, Any]", value).items():
                    deeper += [(path, key), (path, inner)]
            elif isinstance(value, list):
                deeper.extend((path, inner) for inner in cast("list[Any]", value))
        if not deeper:
            break
        level = deeper
    else:
        raise ManifestError(f"nested deeper than {_MAX_DEPTH} levels")
    links = [*((name, getattr(manifest, name)) for name in _LINKS), *(("screenshots", s) for s in manifest.screenshots)]
    for name, link in links:
        if not _LINK.fullmatch(link):
            raise ManifestError("not a link that can be followed", path=name, hint="Begin it with `https://`.")


def _check_config(manifest: Manifest) -> None:
    secrets: set[str] = set()
    if manifest.config is not None:
        secrets = set(manifest.config.secrets)
        properties: Any = manifest.config.schema.get("properties", {})
        if not isinstance(properties, dict):
            raise ManifestError("`properties` of a schema is an object", path="config.schema.properties")
        if unknown := sorted(name for name in secrets if name not in properties):
            raise ManifestError(f"no configuration field `{unknown[0]}`", path="config.secrets")
        if unknown := sorted(set(manifest.config.secret_hosts) - secrets):
            raise ManifestError(f"`{unknown[0]}` is no secret", path="config.secret_hosts")
        asked = [*manifest.permissions, *manifest.optional_permissions]
        for name, hosts in manifest.config.secret_hosts.items():
            if unknown := sorted(host for host in hosts if not any(_reaches(one, host) for one in asked)):
                raise ManifestError(
                    f"no permission reaches `{unknown[0]}`",
                    path=f"config.secret_hosts.{name}",
                    hint=f"Ask for `http:{unknown[0]}`.",
                )
    for index, webhook in enumerate(manifest.webhooks):
        if webhook.secret is None and webhook.verify != "none":
            raise ManifestError(
                f"the verification `{webhook.verify}` needs a secret",
                path=f"webhooks[{index}].secret",
                hint='Name a configuration field of the type `jf.Secret`, or say `verify="none"`.',
            )
        if webhook.secret is not None and webhook.secret not in secrets:
            raise ManifestError(
                f"no secret configuration field `{webhook.secret}`",
                path=f"webhooks[{index}].secret",
                hint="Declare it in the configuration with the type `jf.Secret`.",
            )


def _reaches(permission: str, host: str) -> bool:
    """Whether a permission covers a host, or a pattern of hosts, that a secret is bound to."""
    pattern = permission.removeprefix("http:")
    if pattern == permission:
        return False
    wide, _, port = pattern.partition(":")
    name, _, needed = host.partition(":")
    return port == needed and (wide in ("*", name) or (wide.startswith("*.") and name.endswith(wide[1:])))


def _schemas(manifest: Manifest) -> Iterator[tuple[str, JsonSchema]]:
    """Every JSON Schema in the manifest, with its path."""
    if manifest.config is not None:
        yield "config.schema", manifest.config.schema
    for index, function in enumerate(manifest.functions):
        yield f"functions[{index}].parameters", function.parameters
        yield f"functions[{index}].returns", function.returns
    for index, table in enumerate(manifest.tables):
        for name, column in table.columns.items():
            yield f"tables[{index}].columns.{name}", column
    for index, field_type in enumerate(manifest.field_types):
        yield f"field_types[{index}].schema", field_type.schema
    for name, payload in manifest.emits.items():
        yield f"emits.{name}", payload


def _check_schema(schema: JsonSchema, path: str) -> None:
    """A schema refers to itself alone, so that no validator is sent to fetch another, and is not nested without end."""
    level: list[Any] = [schema]
    for _ in range(_MAX_SCHEMA_DEPTH):
        deeper: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                entries = cast("dict[str, Any]", item)
                for key in ("$ref", "$dynamicRef", "$recursiveRef"):
                    target = entries.get(key, "#")
                    if isinstance(target, str) and not target.startswith("#"):
                        raise ManifestError(
                            f"the schema refers outside itself: {target[:80]}", path=path, hint="Put it under `$defs`."
                        )
                deeper.extend(entries.values())
            elif isinstance(item, list):
                deeper.extend(cast("list[Any]", item))
        if not deeper:
            return
        level = deeper
    raise ManifestError(f"the schema is nested deeper than {_MAX_SCHEMA_DEPTH} levels", path=path)


def _unique(path: str, names: list[str]) -> None:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            raise ManifestError(f"`{name}` is declared twice", path=f"{path}[{index}]")
        seen.add(name)
