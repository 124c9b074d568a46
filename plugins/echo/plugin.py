"""Hello, world: one of everything that a plugin can contribute, each as small as it can be."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Annotated, Any

import msgspec

import jackfield_sdk as jf

Key = Annotated[str, jf.Meta(min_length=1, max_length=100)]
Said = Annotated[str, jf.Meta(max_length=2000)]


class EchoSaid(jf.Struct, frozen=True):
    """Payload of `echo.said`."""

    text: str
    by: str | None = None


class Echo(jf.Struct, frozen=True):
    """What was said, and everything the platform told us about who said it."""

    text: str
    repeat: int
    said: str
    tenant_id: str
    caller_id: str | None
    caller_role: str | None
    trigger: str
    invocation_id: str


class Pings(jf.Struct, frozen=True):
    """What has arrived on `demo.ping`; `last` is oldest first."""

    count: int = 0
    sum: int = 0
    last: list[int] = msgspec.field(default_factory=list[int])
    delivery_id: str = ""


plugin = jf.Plugin(
    "echo",
    version="1.0.0",
    name="Echo",
    summary="Says back what it hears. A hello world that uses every extension point.",
    category="utility",
    tags=["example", "hello-world"],
    licence="MIT",
    author="Jackfield",
    emits={"echo.said": EchoSaid},
)


@plugin.config
class Config:
    greeting: Annotated[str, jf.Meta(min_length=1, max_length=40, description="Goes before a name")] = "Hello"
    pings_kept: Annotated[int, jf.Meta(ge=1, le=1000, description="How many pings are remembered one by one")] = 100
    signing_key: Annotated[jf.Secret | None, jf.Meta(description="Key that `sign` signs with")] = None


@plugin.table("notes", indexes=[["by"]])
class Note:
    text: Said
    created_at: str
    by: str | None = None


# -- a filter and an event -------------------------------------------------------------------------------------------


@plugin.filter("booking.beforeCreate")
def note_booking(ctx: jf.Context, booking: jf.hooks.Booking) -> jf.hooks.Booking:
    """Append a line to the notes of each booking."""
    line = f"{ctx.config.greeting} from Echo"
    return msgspec.structs.replace(booking, notes=f"{booking.notes}\n{line}" if booking.notes else line)


@plugin.on("demo.ping")
def count_ping(ctx: jf.Context, ping: jf.hooks.Ping) -> None:
    """Count the pings, add them up, and keep the last ones in order."""
    delivery_id = ctx.delivery.id if ctx.delivery else ""
    seen = _pings(ctx)
    if delivery_id and delivery_id == seen.delivery_id:
        # Deliveries come in order and at least once, so one that comes again comes right after itself.
        return
    last = [*seen.last, ping.n][-ctx.config.pings_kept :]
    ctx.storage.set("pings", Pings(seen.count + 1, seen.sum + ping.n, last, delivery_id))


# -- functions -------------------------------------------------------------------------------------------------------


@plugin.function(read_only=True, idempotent=True, public=True, examples=[{"text": "hello", "repeat": 2}])
def echo(ctx: jf.Context, text: Said, repeat: Annotated[int, jf.Meta(ge=1, le=10)] = 1) -> Echo:
    """Say back a text, with what is known about the caller."""
    return Echo(
        text=text,
        repeat=repeat,
        said=" ".join([text] * repeat),
        tenant_id=ctx.tenant.id,
        caller_id=ctx.user.id if ctx.user else None,
        caller_role=ctx.user.role if ctx.user else None,
        trigger=ctx.trigger,
        invocation_id=ctx.invocation_id,
    )


@plugin.function()
def say(ctx: jf.Context, text: Said) -> str:
    """Say a text to everyone who listens: sends `echo.said`, returns the event's id."""
    return ctx.events.emit("echo.said", EchoSaid(text, ctx.user.id if ctx.user else None))


@plugin.function(idempotent=True)
def remember(ctx: jf.Context, key: Key, value: Any) -> None:
    """Keep a value."""
    ctx.storage.set(f"memory/{key}", value)


@plugin.function(read_only=True, idempotent=True)
def recall(ctx: jf.Context, key: Key) -> Any:
    """The value that was kept under a key; null when there is none."""
    return ctx.storage.get(f"memory/{key}")


@plugin.function(idempotent=True, destructive=True)
def forget(ctx: jf.Context, key: Key) -> bool:
    """Drop a value; whether there was one."""
    return ctx.storage.delete(f"memory/{key}")


@plugin.function()
def tally(ctx: jf.Context, key: Key, by: int = 1) -> int:
    """Add to a number, whoever else does so at the same time; the number afterwards."""
    return ctx.storage.increment(f"tally/{key}", by)


@plugin.function()
def asked(ctx: jf.Context) -> int:
    """How often this was asked within a minute, as far as this node remembers."""
    return ctx.cache.increment("asked", ttl_s=60)


@plugin.function()
def export_notes(ctx: jf.Context) -> str:
    """Write all notes into a file that every member can download; its path."""
    with ctx.files.create("notes.jsonl", role="member") as out:
        for note in ctx.tables["notes"].find(order="created_at", limit=1000):
            out.write(json.dumps(note) + "\n")
    return out.finished().path


@plugin.function(read_only=True, idempotent=True)
def pings(ctx: jf.Context) -> Pings:
    """What has arrived on `demo.ping`."""
    return _pings(ctx)


@plugin.function()
def add_note(ctx: jf.Context, text: Said) -> dict[str, Any]:
    """Write a note; the row as it is stored."""
    return ctx.tables["notes"].insert(text=text, by=ctx.user.id if ctx.user else None, created_at=ctx.now.isoformat())


@plugin.function(read_only=True, idempotent=True)
def notes(
    ctx: jf.Context, by: str | None = None, limit: Annotated[int, jf.Meta(ge=1, le=100)] = 20
) -> list[dict[str, Any]]:
    """Notes, newest first; those of one member when `by` is given."""
    return ctx.tables["notes"].find({"by": by} if by else None, order="-created_at", limit=limit)


@plugin.function(read_only=True, idempotent=True)
def sign(ctx: jf.Context, text: Said) -> str:
    """HMAC-SHA256 of a text with the configured key, in hexadecimal."""
    if ctx.config.signing_key is None:
        raise jf.UserError("no signing key is set", code="signing-key-missing", hint="Set one in Echo's settings.")
    return hmac.new(ctx.config.signing_key.reveal().encode(), text.encode(), hashlib.sha256).hexdigest()


# -- routes ----------------------------------------------------------------------------------------------------------


@plugin.route("GET", "/hello/{name}", auth="public")
def hello(ctx: jf.Context, request: jf.Request) -> dict[str, str]:
    """Greet somebody."""
    return {"message": f"{ctx.config.greeting}, {request.params['name']}!"}


@plugin.route("POST", "/echo")
def echo_body(ctx: jf.Context, request: jf.Request) -> jf.Response:
    """Answer with the body, whatever it is."""
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip() == "application/json":
        return jf.Response(request.json())
    ctx.log.debug("a body that is not JSON", content_type=content_type, bytes=len(request.body))
    return jf.Response(request.body, content_type="application/octet-stream")


# -- widgets ---------------------------------------------------------------------------------------------------------


@plugin.widget("Dashboard.Widgets", title="Echo")
def dashboard(ctx: jf.Context, _context: Any) -> jf.ui.Card:
    """How much has been heard."""
    seen = _pings(ctx)
    return jf.ui.Card(
        title="Echo",
        children=[
            jf.ui.Grid(
                [
                    jf.ui.Stat("Pings", seen.count, id="pings"),
                    jf.ui.Stat("Notes", ctx.tables["notes"].count(), id="notes"),
                ]
            ),
            jf.ui.Text(f"{ctx.config.greeting} from Echo", style="caption", tone="muted"),
        ],
    )


@plugin.widget("POS.BeforeCheckout", title="Echo")
def cart(ctx: jf.Context, sale: jf.hooks.Sale) -> jf.ui.Row:
    """Say back what is in the cart."""
    count = sum(item.quantity for item in sale.items)
    return jf.ui.Row(
        [
            jf.ui.Icon("shopping-cart"),
            jf.ui.Text(f"{ctx.config.greeting}! {count} items for {sale.total:.2f} {sale.currency}"),
        ]
    )


# -- life cycle and health -------------------------------------------------------------------------------------------


@plugin.on_install
def installed(ctx: jf.Context) -> None:
    ctx.log.info("installed", tenant=ctx.tenant.id)


@plugin.on_activate
def activated(ctx: jf.Context) -> None:
    ctx.log.info("activated")


@plugin.on_configure
def configured(ctx: jf.Context) -> None:
    ctx.log.info("configured", greeting=ctx.config.greeting, has_key=ctx.config.signing_key is not None)


@plugin.on_deactivate
def deactivated(ctx: jf.Context) -> None:
    ctx.log.info("deactivated")


@plugin.on_uninstall
def uninstalled(ctx: jf.Context) -> None:
    ctx.log.info("uninstalled", pings=_pings(ctx).count)


@plugin.health
def healthy(ctx: jf.Context) -> jf.Health:
    """Well when it can reach its storage."""
    return jf.Health(True, f"{_pings(ctx).count} pings so far")


def _pings(ctx: jf.Context) -> Pings:
    return msgspec.convert(ctx.storage.get("pings", {}), Pings)
