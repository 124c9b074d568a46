"""What the zygote does before its first fork, so that isolates start fast and stay small.

A fork shares memory until somebody writes. CPython writes when it merely runs: it specialises byte code on first
executions, fills caches, and takes new objects from half-empty pools all over the heap. So the zygote rehearses a whole
life of an isolate with a plugin of our own, over and over, and then fills the half-empty pools. What it saves is in
docs/decisions/0007-fast-isolates.md.
"""

from __future__ import annotations

import contextlib
import marshal
import re
import socket
import sys

import msgspec

from jackfield_sandbox import image as images
from jackfield_sdk import wire
from jackfield_sdk.guest import Channel, Guest

__all__ = ["fill_pools", "rehearse"]

_ROUNDS = 40
_NAME = "jackfield_rehearsal"
_SOURCE = """
from __future__ import annotations

import hashlib
from typing import Annotated, Any

import msgspec

import jackfield_sdk as jf

Key = Annotated[str, jf.Meta(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.:/-]+(x|y)*$")]


class Thing(jf.Struct, frozen=True):
    name: str
    key: Key = "k"
    tags: list[str] = msgspec.field(default_factory=list[str])
    note: str | None = None


plugin = jf.Plugin(
    "rehearsal",
    version="1.0.0",
    permissions=["customers:read"],
    emits={"rehearsal.done": dict, "rehearsal.thing": Thing},
)


@plugin.config
class Config:
    rate: Annotated[float, jf.Meta(ge=0, description="rate")] = 1.0
    label: Annotated[str, jf.Meta(max_length=40)] = ""


@plugin.table("rows")
class Row:
    name: str
    points: int = 0


@plugin.on_activate
def activated(ctx: jf.Context) -> None:
    ctx.log.info("activated")


@plugin.function(description="one of each", read_only=True)
def calls(ctx: jf.Context, text: str, times: int = 1, items: list[str] | None = None) -> dict[str, str]:
    ctx.storage.set("k", {"a": 1})
    ctx.storage.get("k")
    ctx.tables["rows"].insert(name="a", points=1)
    ctx.tables["rows"].find({"name": "a"}, order="-points")
    ctx.data["customers"].get("c")
    ctx.events.emit("rehearsal.done", {"n": 1})
    ctx.log.info("hello", n=1)
    print("hello", text)
    return {"text": text * times}


@plugin.on("sale.created", when="sale.total > 0")
def sold(ctx: jf.Context, sale: jf.hooks.Sale) -> None:
    if sale.total > ctx.config.rate:
        ctx.log.debug(sale.id)


@plugin.filter("booking.beforeCreate")
def booking(ctx: jf.Context, booking: jf.hooks.Booking) -> jf.hooks.Booking:
    return booking


@plugin.route("GET", "/x/{name}")
def route(ctx: jf.Context, request: jf.Request) -> dict[str, str]:
    return {"name": request.params["name"], "n": str(ctx.now)}


@plugin.function()
def fails(ctx: jf.Context) -> None:
    raise ValueError("no")


@plugin.function()
def refuses(ctx: jf.Context) -> None:
    raise jf.UserError("no")
"""
_HOST_CALLS = 6


def rehearse() -> None:
    """Run a made-up plugin through load, calls, capability calls and failures; leaves nothing but warm caches."""
    code = marshal.dumps(compile(_SOURCE, f"{_NAME}.py", "exec", dont_inherit=True), 2)
    path = f"src/{_NAME}.py"
    image = images.build({path: _SOURCE.encode()}, {path: code})
    streams = sys.stdout, sys.stderr
    try:
        for round_ in range(_ROUNDS):
            _one_life(image, with_failures=round_ < 3)
    finally:
        sys.stdout, sys.stderr = streams
        sys.modules.pop(_NAME, None)


def _one_life(image: bytes, *, with_failures: bool) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        # Or the second life would find the first one's patterns compiled.
        re.purge()
        finder = images.install(images.Image(memoryview(image)))
        try:
            guest = Guest(Channel(theirs.fileno()))
            guest.redirect_output()
            config = msgspec.Raw(wire.encode({"rate": 0.5}))
            _say(ours, guest, wire.Load(wire.PROTOCOL_VERSION, "rehearsal", _NAME, config))
            for _ in range(3):
                _call(ours, guest, "function", "calls", {"text": "a", "times": 2}, host_calls=_HOST_CALLS)
            _call(ours, guest, "event", "sold", {"id": "s", "total": 2.5, "items": []})
            _call(ours, guest, "filter", "booking", {"customer_id": "c", "starts_at": "2026-01-01T00:00:00Z"})
            _call(ours, guest, "route", "route", {"method": "GET", "path": "/x/a", "params": {"name": "a"}})
            _call(ours, guest, "lifecycle", "activated", None)
            if with_failures:
                _call(ours, guest, "function", "fails", {})
                _call(ours, guest, "function", "refuses", {})
                _call(ours, guest, "function", "calls", {"txt": 1})
        finally:
            sys.meta_path.remove(finder)
            sys.modules.pop(_NAME, None)


def _call(ours: socket.socket, guest: Guest, kind: str, handler: str, payload: object, host_calls: int = 0) -> None:
    context = wire.CallContext("tenant", "inv", kind, wire.Caller("member", "owner"), wire.Delivery("d", 1))
    is_plain = kind == "function"
    call = wire.Call(1, kind, handler, msgspec.Raw(wire.encode(payload)), context, is_plain)
    # The answers to the capability calls lie ready; each life numbers its calls from one.
    value = msgspec.Raw(wire.encode({"found": True, "value": {"a": 1}}))
    first = guest.host_call_count + 1
    replies = b"".join(wire.frame(wire.HostReply(first + i, value)) for i in range(host_calls))
    _say(ours, guest, call, replies)


def _say(ours: socket.socket, guest: Guest, message: wire.ToGuest, more: bytes = b"") -> None:
    ours.sendall(wire.frame(message) + more)
    guest.serve_one()
    ours.setblocking(False)  # the socket's own signature
    with contextlib.suppress(BlockingIOError):
        while ours.recv(65536):
            pass
    ours.setblocking(True)  # the socket's own signature


_POOL_BYTES = 16 * 1024
_POOL_HEADER = 48
_CLASSES = range(16, 513, 16)
_ENOUGH = 20_000


def fill_pools() -> list[bytes]:
    """Take what is left in every half-used pool of the allocator, so that a child's objects lie together on fresh
    pages.

    Returns:
        The filling; keep it alive.
    """
    filling: list[bytes] = []
    overhead = sys.getsizeof(b"")
    for size in _CLASSES:
        length = size - overhead
        if length <= 0:
            # The smallest classes hold no bytes object; their pools are few.
            continue
        for _ in range(_ENOUGH):
            block = bytes(length)
            filling.append(block)
            if (id(block) - _POOL_HEADER) % _POOL_BYTES == 0:
                break  # the first block of a fresh pool
    return filling
