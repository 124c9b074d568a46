"""What the zygote does before its first fork, so that isolates start fast and stay small.

A fork shares memory until somebody writes. CPython writes when it merely runs: it specialises byte code on first
executions and fills caches. So the zygote rehearses a whole life of an isolate with a plugin of our own, over and over.
What that saves is in docs/decisions/0007-fast-isolates.md.
"""

from __future__ import annotations

import _socket
import contextlib
import dis
import gc
import marshal
import re
import socket
import sys
from collections.abc import Iterable
from types import CodeType, FrameType, FunctionType

import msgspec

from jackfield_sandbox import image as images
from jackfield_sandbox.boot import fill_pools
from jackfield_sdk import wire
from jackfield_sdk.guest import Channel, Guest

__all__ = ["Breath", "rehearse"]

_ROUNDS = 40
_LARGE_BYTES = 512
_NOTHING = bytes((dis.opmap["NOP"], 0))
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


_BREATH_NAME = "jackfield_breath"
_BREATH_SOURCE = """
from __future__ import annotations

from typing import Any

import jackfield_sdk as jf

plugin = jf.Plugin("breath", version="1.0.0", summary="")


@plugin.function(description="")
def echo(ctx: jf.Context, text: str) -> str:
    return text
"""


class Breath:
    """One call to a plugin of ours with a single function: what a spare isolate does while it waits.

    It writes to the pages that any plugin's first call would, so that they are its own before that call comes.
    """

    def __init__(self) -> None:
        image, code_at, code_bytes = _image(_BREATH_NAME, _BREATH_SOURCE)
        nothing = msgspec.Raw(wire.encode({}))
        load = wire.Load(wire.PROTOCOL_VERSION, "breath", _BREATH_NAME, nothing, [], len(image), code_at, code_bytes)
        context = wire.CallContext("tenant", "inv", "function", wire.Caller("member", "owner"))
        payload = msgspec.Raw(wire.encode({"text": "a"}))
        call = wire.Call(1, "function", "echo", payload, context, True)
        self._channel = _Mute(-1)
        self._guest = Guest(self._channel, _mount)
        self._messages = wire.frame(load) + image + wire.frame(call)

    def take(self) -> None:
        """Load and call; leaves nothing but pages."""
        # Not by `socket`, whose classes cost pages that few plugins need.
        theirs, ours = _socket.socketpair()
        try:
            ours.send(self._messages)
            self._channel.hear(theirs.fileno())
            self._guest.serve_first()
            self._guest.serve_one()
        finally:
            ours.close()
            theirs.close()
            del sys.meta_path[0]
            del sys.modules[_BREATH_NAME]
            self._guest.unload()


class _Mute(Channel):
    def hear(self, fd: int) -> None:
        self._fd = fd

    def send(self, message: wire.ToNode) -> None:
        wire.frame(message)


def _mount(message: wire.Load, sent: bytearray) -> None:
    images.mount(sent, message.entry, message.code_at, message.code_bytes)


def _image(name: str, source: str) -> tuple[bytes, int, int]:
    """An image of one module, and where its code is."""
    path = f"src/{name}.py"
    code = marshal.dumps(compile(source, f"{name}.py", "exec", dont_inherit=True), 2)
    image = images.build({path: source.encode()}, {path: code})
    return image, *images.locate(image, name)


def rehearse(also: Iterable[CodeType] = ()) -> tuple[Breath, object]:
    """Run a made-up plugin through load, calls, capability calls and failures; leaves nothing but warm caches.

    Args:
        also: What else runs in every isolate.

    Returns:
        For spare isolates, and something to be kept alive.
    """
    image = _image(_NAME, _SOURCE)
    breath = Breath()
    streams = sys.stdout, sys.stderr
    try:
        _one_life(image, with_failures=True)
        ran = _codes_of(image)
        kept = fill_pools()
        _move([*also, *ran])
        for round_ in range(_ROUNDS):
            _one_life(image, with_failures=round_ < 3)
            breath.take()
    finally:
        sys.stdout, sys.stderr = streams
        sys.modules.pop(_NAME, None)
    return breath, kept


def _codes_of(image: tuple[bytes, int, int]) -> list[CodeType]:
    """What runs in a life, in the order in which it first runs."""
    ran: dict[CodeType, None] = {}

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            ran.setdefault(frame.f_code)

    sys.setprofile(note)
    try:
        _one_life(image, with_failures=False)
    finally:
        sys.setprofile(None)
    return [code for code in ran if code.co_filename != f"{_NAME}.py"]


def _move(codes: Iterable[CodeType]) -> None:
    """Have functions run copies of their code, made one after the other, so that they lie together.

    What a function runs is written to each time: it counts its references and how often it went which way. The
    allocator keeps small things of different sizes apart, each size in pages of its own, so a copy has some unreachable
    instructions at its end that make it large enough not to be small.
    """
    functions: dict[CodeType, list[FunctionType]] = {}
    for thing in gc.get_objects():
        if isinstance(thing, FunctionType):
            functions.setdefault(thing.__code__, []).append(thing)
    for code in codes:
        filler = max(0, (_LARGE_BYTES - sys.getsizeof(code)) // 2 + 1)
        copy = code.replace(co_code=code.co_code + _NOTHING * filler)
        for function in functions.get(code, ()):
            function.__code__ = copy


def _one_life(image: tuple[bytes, int, int], *, with_failures: bool) -> None:
    data, code_at, code_bytes = image
    ours, theirs = socket.socketpair()
    with ours, theirs:
        # Or the second life would find the first one's patterns compiled.
        re.purge()
        finders: list[images.ImageFinder] = []

        def mount(message: wire.Load, sent: bytearray) -> None:
            finders.append(images.mount(sent, message.entry, message.code_at, message.code_bytes))

        try:
            guest = Guest(Channel(theirs.fileno()), mount)
            guest.redirect_output()
            config = msgspec.Raw(wire.encode({"rate": 0.5}))
            load = wire.Load(wire.PROTOCOL_VERSION, "rehearsal", _NAME, config, [], len(data), code_at, code_bytes)
            ours.sendall(wire.frame(load) + data)
            guest.serve_first()
            _drain(ours)
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
            sys.meta_path[:] = [finder for finder in sys.meta_path if finder not in finders]
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
    _drain(ours)


def _drain(ours: socket.socket) -> None:
    ours.setblocking(False)  # the socket's own signature
    with contextlib.suppress(BlockingIOError):
        while ours.recv(65536):
            pass
    ours.setblocking(True)  # the socket's own signature
