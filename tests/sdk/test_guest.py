"""The loop inside the isolate, over a real socket: it answers whatever a plugin does, and tells what went wrong."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

import jackfield_sdk as jf
from jackfield_sdk import wire
from jackfield_sdk.guest import Channel, Guest


class Point(jf.Struct):
    x: int
    label: str = "none"


plugin = jf.Plugin("tried", version="1.0.0")


@plugin.config
class Config:
    needed: int
    key: jf.Secret | None = None


class OddError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class BareError(jf.UserError):
    def __init__(self) -> None:
        pass


def raiser(error: BaseException) -> Callable[[], Any]:
    def act() -> Any:
        raise error

    return act


def invalid() -> Any:
    return msgspec.convert("x", int)


ACTS: dict[str, Callable[[], Any]] = {
    "number": lambda: 7,
    "bytes": lambda: b"ab",
    "object": object,
    "huge": lambda: 2**80,
    "surrogate": lambda: "\ud800",
    "user": raiser(jf.UserError("not today", code="closed", hint="Come back.")),
    "veto": raiser(jf.VetoError("no")),
    "retry": raiser(jf.RetryLaterError("busy", after_s=2)),
    "defect": raiser(ValueError("broken")),
    "memory": raiser(MemoryError()),
    "exit": raiser(SystemExit(3)),
    "interrupt": raiser(KeyboardInterrupt()),
    "odd": raiser(OddError()),
    "bare": raiser(BareError()),
    "long": raiser(jf.UserError("x" * 10_000, code="y" * 500)),
    "surrogates": raiser(jf.UserError("\ud800")),
    "number-code": raiser(jf.UserError("x", code=5)),  # pyright: ignore[reportArgumentType]  # a mistake that authors make
    "own-validation": invalid,
    "defect-surrogates": raiser(ValueError("\ud800")),
    "odd-name": raiser(type("X" * 5000, (Exception,), {})()),
    "odd-seconds": raiser(jf.RetryLaterError("x", after_s=10**400)),
    "large": lambda: "x" * wire.FRAME_LIMIT,
}


@plugin.function()
def act(ctx: jf.Context, name: str) -> Any:
    return ACTS[name]()


@plugin.function()
def typed(ctx: jf.Context, point: Point) -> str:
    return type(point).__name__


@plugin.function()
async def later(ctx: jf.Context, n: int) -> int:
    return n + 1


@plugin.function()
def stored(ctx: jf.Context, key: str) -> Any:
    return ctx.storage.get(key)


@plugin.function()
def store(ctx: jf.Context, what: str) -> None:
    ctx.storage.set("key", {"object": 1j, "huge": 2**80, "large": "x" * wire.FRAME_LIMIT, "plain": 1}[what])


@plugin.function()
def many(ctx: jf.Context) -> list[Any]:
    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(lambda n: ctx.storage.get(str(n)), range(64)))


@plugin.function()
def settings(ctx: jf.Context) -> Any:
    return [ctx.config.needed, ctx.config.key.reveal() if ctx.config.key else None]


@plugin.function()
def told(ctx: jf.Context) -> list[Any]:
    return [ctx.tenant.id, ctx.trigger, ctx.user, ctx.delivery, ctx.locale, ctx.now.isoformat()]


@plugin.function()
def log(ctx: jf.Context) -> None:
    ctx.log.info("\ud800", huge=2**80, thing=[1], fine=1.5)  # pyright: ignore[reportArgumentType]  # authors log anything


@plugin.function()
def speak(ctx: jf.Context) -> None:
    print("one\ntwo ", end="")
    print("three")
    print("trouble", file=sys.stderr)
    log = logging.getLogger("own")
    log.debug("not heard")
    log.warning("careful %d", 5)
    log.critical("fatal")
    print("half", end="", flush=True)


@plugin.filter("demo.change")
def change(ctx: jf.Context, point: Point) -> Point | None:
    return Point(point.x + 1) if point.x >= 0 else None


@plugin.filter("demo.any")
def change_any(ctx: jf.Context, value: Any) -> Any:
    return {"only": value}


@plugin.route("GET", "/{kind}")
def route(ctx: jf.Context, request: jf.Request) -> Any:
    return {
        "data": {"status": 500, "body": 1},
        "response": jf.Response({"a": Point(1)}, status=201, headers={"x-a": "b"}),
        "bytes": jf.Response(b"\xff", content_type="image/png"),
    }[request.params["kind"]]


class Node:
    """The node's end: answers capability calls by a function, keeps the log."""

    def __init__(self, broker: Callable[[wire.HostCall], Any] | None = None, **options: Any) -> None:
        self.logs: list[wire.Log] = []
        self._broker = broker or (lambda call: None)
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(10)
        self._theirs = theirs
        self._reader = wire.FrameReader()
        self._frames: list[bytes] = []
        self.guest = Guest(Channel(theirs.fileno()), **({"plugin": plugin} | options))
        self._thread = threading.Thread(target=self.guest.serve)
        self._thread.start()

    def close(self) -> None:
        self._socket.close()
        self._thread.join(10)
        self._theirs.close()
        assert not self._thread.is_alive()

    def ask(self, message: wire.ToGuest) -> wire.Ready | wire.Result:
        self._socket.sendall(wire.frame(message))
        while True:
            while not self._frames:
                self._frames += self._reader.feed(self._socket.recv(65536))
            answer = wire.decode_to_node(self._frames.pop(0))
            if isinstance(answer, wire.Log):
                self.logs.append(answer)
            elif isinstance(answer, wire.HostCall):
                self._socket.sendall(wire.frame(self._reply(answer)))
            else:
                return answer

    def _reply(self, call: wire.HostCall) -> wire.HostReply:
        value = self._broker(call)
        if isinstance(value, wire.Failure):
            return wire.HostReply(call.id, failure=value)
        return wire.HostReply(call.id, msgspec.Raw(wire.encode(value)))

    def load(
        self, config: dict[str, Any] | None = None, secrets: list[str] | None = None, entry: str = "plugin"
    ) -> wire.Ready:
        values = msgspec.Raw(wire.encode({"needed": 1} if config is None else config))
        answer = self.ask(wire.Load(wire.PROTOCOL_VERSION, "tried", entry, values, secrets or []))
        assert isinstance(answer, wire.Ready)
        return answer

    def call(self, handler: str, payload: Any, kind: str = "function", **context: Any) -> wire.Result:
        about = wire.CallContext("acme", "i1", kind, **context)
        answer = self.ask(wire.Call(1, kind, handler, msgspec.Raw(wire.encode(payload)), about))
        assert isinstance(answer, wire.Result)
        return answer

    def value(self, handler: str, payload: Any, kind: str = "function", **context: Any) -> Any:
        answer = self.call(handler, payload, kind, **context)
        assert answer.failure is None, answer.failure
        return msgspec.msgpack.decode(answer.value)

    def failure(self, handler: str, payload: Any, kind: str = "function") -> wire.Failure:
        answer = self.call(handler, payload, kind)
        assert answer.failure is not None
        return answer.failure


@pytest.fixture
def connect() -> Iterator[Callable[..., Node]]:
    with ExitStack() as stack:

        def make(broker: Callable[[wire.HostCall], Any] | None = None, **options: Any) -> Node:
            node = Node(broker, **options)
            stack.callback(node.close)
            return node

        yield make


@pytest.fixture
def node(connect: Callable[..., Node]) -> Node:
    node = connect()
    assert node.load().failure is None
    return node


def test_it_returns_what_a_handler_returns(node: Node) -> None:
    assert node.value("act", {"name": "number"}) == 7


def test_an_async_handler_is_a_handler(node: Node) -> None:
    assert [node.value("later", {"n": n}) for n in (1, 2)] == [2, 3]


@pytest.mark.parametrize(
    ("act", "kind", "code"),
    [
        ("user", "user", "closed"),
        ("veto", "veto", "vetoed"),
        ("retry", "retry", "retry-later"),
        ("defect", "error", "plugin-error"),
        ("memory", "error", "memory-exceeded"),
        ("exit", "error", "plugin-error"),
        ("interrupt", "error", "plugin-error"),
        ("odd", "error", "plugin-error"),
        ("bare", "user", "user-error"),
        ("surrogates", "user", "user-error"),
        ("number-code", "user", "5"),
        ("own-validation", "error", "plugin-error"),
        ("defect-surrogates", "error", "plugin-error"),
        ("odd-name", "error", "plugin-error"),
        ("odd-seconds", "retry", "retry-later"),
        ("large", "error", "result-too-large"),
        ("object", "error", "result-not-data"),
        ("huge", "error", "result-not-data"),
        ("surrogate", "error", "result-not-data"),
    ],
)
def test_every_failure_is_told_and_the_next_call_works(node: Node, act: str, kind: str, code: str) -> None:
    failure = node.failure("act", {"name": act})
    assert (failure.kind, failure.code) == (kind, code)
    assert node.value("act", {"name": "number"}) == 7


def test_what_a_plugin_raises_reaches_the_caller_with_its_data(node: Node) -> None:
    failure = node.failure("act", {"name": "user"})
    assert (failure.message, failure.hint, failure.trace) == ("not today", "Come back.", "")
    assert node.failure("act", {"name": "retry"}).retry_after_s == 2


def test_a_defect_brings_the_plugins_own_frames(node: Node) -> None:
    trace = node.failure("act", {"name": "defect"}).trace
    assert "test_guest.py" in trace
    assert "ValueError: broken" in trace
    assert "jackfield_sdk/guest.py" not in trace
    assert str(__file__).rpartition("/")[0] not in trace


def test_words_of_a_failure_are_cut(node: Node) -> None:
    failure = node.failure("act", {"name": "long"})
    assert len(failure.message) == 2000
    assert len(failure.code) == 80


@pytest.mark.parametrize(
    ("handler", "payload"), [("act", {}), ("act", {"name": 5}), ("act", {"name": "number", "more": 1}), ("change", 5)]
)
def test_a_payload_of_another_type_does_not_reach_the_handler(node: Node, handler: str, payload: Any) -> None:
    assert node.failure(handler, payload).code == "payload-mismatch"


def test_an_unknown_handler_is_a_protocol_error(node: Node) -> None:
    assert node.failure("nobody", {}).code == "protocol-violation"


def test_bytes_become_text_in_data(node: Node) -> None:
    assert node.value("act", {"name": "bytes"}) == "YWI="


# -- filters and routes ----------------------------------------------------------------------------------------------


def test_a_filter_changes_what_it_changed_and_leaves_the_hosts_other_fields(node: Node) -> None:
    given = {"x": 1, "secret": {"deep": [1]}, "label": "mine"}
    assert node.value("change", given, "filter") == {"x": 2, "secret": {"deep": [1]}, "label": "none"}
    assert node.value("change", {"x": 1, "other": 1}, "filter") == {"x": 2, "other": 1}


def test_a_filter_that_returns_nothing_changes_nothing(node: Node) -> None:
    assert node.value("change", {"x": -1, "other": 1}, "filter") == {"x": -1, "other": 1}


def test_a_filter_over_any_data_returns_what_it_wants(node: Node) -> None:
    assert node.value("change_any", [1], "filter") == {"only": [1]}


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("data", {"body": {"status": 500, "body": 1}}),
        ("response", {"body": {"a": {"x": 1, "label": "none"}}, "status": 201, "headers": {"x-a": "b"}}),
        ("bytes", {"body": b"\xff", "content_type": "image/png"}),
    ],
)
def test_a_route_always_answers_in_one_form(node: Node, kind: str, answer: dict[str, Any]) -> None:
    request = {"method": "GET", "path": f"/{kind}", "params": {"kind": kind}, "body": b""}
    usual = {"status": 200, "content_type": "application/json", "headers": {}}
    assert node.value("route", request, "route") == {**usual, **answer}


# -- capabilities ----------------------------------------------------------------------------------------------------


def test_a_capability_call_blocks_until_it_is_answered(connect: Callable[..., Node]) -> None:
    def broker(call: wire.HostCall) -> Any:
        assert (call.capability, call.operation) == ("storage", "get")
        key = msgspec.msgpack.decode(call.arguments)["key"]
        return {"found": key == "a", "value": 5 if key == "a" else None}

    node = connect(broker)
    node.load()
    assert [node.value("stored", {"key": key}) for key in ("a", "b")] == [5, None]
    assert node.guest.host_call_count == 2


def test_threads_of_a_plugin_do_not_mix_their_answers(connect: Callable[..., Node]) -> None:
    def broker(call: wire.HostCall) -> Any:
        return {"found": True, "value": int(msgspec.msgpack.decode(call.arguments)["key"])}

    node = connect(broker)
    node.load()
    assert node.value("many", {}) == list(range(64))


@pytest.mark.parametrize(("code", "kind"), [("permission-denied", "error"), ("unavailable", "error")])
def test_a_refusal_is_an_error_in_the_plugin(connect: Callable[..., Node], code: str, kind: str) -> None:
    node = connect(lambda call: wire.Failure(code, "no", "Ask."))
    node.load()
    failure = node.failure("stored", {"key": "a"})
    assert (failure.code, failure.kind, failure.hint) == (code, kind, "Ask.")


@pytest.mark.parametrize(
    ("what", "code"), [("object", "plugin-error"), ("huge", "arguments-not-data"), ("large", "arguments-too-large")]
)
def test_what_is_no_data_never_leaves_the_isolate(node: Node, what: str, code: str) -> None:
    assert node.failure("store", {"what": what}).code == code
    assert node.value("store", {"what": "plain"}) is None


def test_a_log_line_carries_whatever_fits(node: Node) -> None:
    node.call("log", {})
    (line,) = node.logs
    assert (line.level, line.message) == ("info", "?")
    assert line.fields == {"huge": str(2**80), "thing": "[1]", "fine": 1.5}


def test_print_and_logging_go_to_the_log_line_by_line(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    node.guest.redirect_output()
    node.call("speak", {})
    assert [(line.level, line.message, line.fields) for line in node.logs] == [
        ("info", "one", {}),
        ("info", "two three", {}),
        ("warning", "trouble", {}),
        ("warning", "careful 5", {"logger": "own"}),
        ("error", "fatal", {"logger": "own"}),
        ("info", "half", {}),
    ]


# -- context and configuration ---------------------------------------------------------------------------------------


def test_the_context_says_what_the_platform_says(node: Node) -> None:
    said = node.value(
        "told", {}, caller=wire.Caller("u1", "admin"), delivery=wire.Delivery("d", 2), locale="de", now=0.0
    )
    assert said == ["acme", "function", ["u1", "admin"], ["d", 2], "de", "1970-01-01T00:00:00+00:00"]


def test_a_secret_stays_with_the_platform_until_it_is_revealed(connect: Callable[..., Node]) -> None:
    asked: list[Any] = []

    def broker(call: wire.HostCall) -> str:
        asked.append((call.capability, call.operation, msgspec.msgpack.decode(call.arguments)))
        return "the value"

    node = connect(broker)
    assert node.load({"needed": 3}, ["key"]).failure is None
    assert asked == []
    assert node.value("settings", {}) == [3, "the value"]
    assert asked == [("secrets", "reveal", {"name": "key"})]


def test_without_its_configuration_only_handlers_that_read_it_fail(connect: Callable[..., Node]) -> None:
    node = connect()
    assert node.load({}).failure is None
    assert node.value("act", {"name": "number"}) == 7
    assert [node.failure("settings", {}).code for _ in range(2)] == ["config-incomplete"] * 2


# -- loading ---------------------------------------------------------------------------------------------------------


def test_another_protocol_is_refused(connect: Callable[..., Node]) -> None:
    answer = connect().ask(wire.Load(99, "tried", "plugin", msgspec.Raw(wire.encode({}))))
    assert answer.failure is not None
    assert answer.failure.code == "protocol-violation"


def test_nothing_runs_before_a_plugin_is_loaded(connect: Callable[..., Node]) -> None:
    node = connect()
    assert node.failure("act", {"name": "number"}).code == "protocol-violation"
    answer = node.ask(wire.Describe(1))
    assert answer.failure is not None


@pytest.mark.parametrize(
    ("source", "code", "told"),
    [
        ("import jackfield_sdk as jf\nplugin = jf.Plugin('own', version='1.0.0')", None, ""),
        ("plugin = 5", "manifest-invalid", "does not define `plugin`"),
        ("1 / 0", "plugin-error", "ZeroDivisionError"),
        ("import sys; sys.exit(0)", "plugin-error", "SystemExit"),
        ("def broken(", "plugin-error", "SyntaxError"),
        ("import no_such_module", "plugin-error", "no_such_module"),
    ],
)
def test_what_goes_wrong_in_loading_is_the_authors_to_read(
    connect: Callable[..., Node],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    code: str | None,
    told: str,
) -> None:
    (tmp_path / "own_module.py").write_text(source)
    prepared: list[str] = []

    def prepare(message: wire.Load, _image: bytearray) -> None:
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "own_module", raising=False)
        prepared.append(message.entry)

    failure = connect(plugin=None, prepare=prepare).load(entry="own_module").failure
    assert prepared == ["own_module"]
    assert (failure and failure.code) == code
    assert failure is None or told in failure.message


def test_arguments_that_the_node_calls_plain_are_handed_over_as_they_are(node: Node) -> None:
    payload = msgspec.Raw(wire.encode({"name": "number"}))
    answer = node.ask(
        wire.Call(1, "function", "act", payload, wire.CallContext("acme", "i1", "function"), is_plain=True)
    )
    assert isinstance(answer, wire.Result)
    assert msgspec.msgpack.decode(answer.value) == 7
    assert node.failure("act", {"nobody": 1}).code == "payload-mismatch"


def test_it_describes_what_it_has_loaded(node: Node) -> None:
    answer = node.ask(wire.Describe(1))
    assert isinstance(answer, wire.Result)
    assert msgspec.msgpack.decode(answer.value) == msgspec.to_builtins(plugin.manifest())
