"""The loop that runs inside the isolate: read a message, run the handler, answer.

It trusts the node and nothing else, and protects nobody: whatever plugin code does to this process, the kernel and the
broker outside hold. Its only duty is to be quick and to tell honest plugins what went wrong.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import io
import logging
import os
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, cast

import msgspec

from jackfield_sdk import wire
from jackfield_sdk.context import Context, Response
from jackfield_sdk.errors import (
    CapabilityError,
    ManifestError,
    PermissionDeniedError,
    PluginError,
    RetryLaterError,
    UserError,
    VetoError,
    WireError,
)
from jackfield_sdk.plugin import Handler, Plugin
from jackfield_sdk.schema import Secret, to_plain

__all__ = ["Channel", "Guest", "failure_of"]

_TRACE_CHARS = 4000
_TRACE_FRAMES = 12
_OWN_FOLDER = __file__.rpartition("/")[0].rpartition("/")[0]
"""Folder that holds `jackfield_sdk`."""
_LINE_CHARS = 4000
_FIRST_READ_BYTES = 4096
_READ_BYTES = 65536
_NOT_TYPED = object()
_TEXT_CHARS = 2000
_CODE_CHARS = 80
_MAX_INTEGER = 2**63
_YEAR_S = 366 * 24 * 3600
_ROOM_BYTES = 64 * 1024
"""Left in a frame for what goes around a value."""


class Channel:
    """The isolate's end of the channel, and the `Host` behind the capabilities. A plugin's threads may share it.

    Args:
        fd: A connected stream socket.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._reader = wire.FrameReader()
        self._frames: deque[bytes] = deque()
        self.host_call_count = 0
        # Re-entrant: a finalizer that the garbage collector runs amid a call may log.
        self._calling = threading.RLock()
        self._sending = threading.RLock()

    def receive(self) -> wire.ToGuest | None:
        """The next message, or None when the node has closed the channel."""
        # Little at first: room that is asked for and not used is written to by the allocator all the same.
        room = _FIRST_READ_BYTES
        while not self._frames:
            data = os.read(self._fd, room)
            if not data:
                return None
            self._frames.extend(self._reader.feed(data))
            room = _READ_BYTES
        return wire.decode_to_guest(self._frames.popleft())

    def receive_first(self) -> tuple[wire.ToGuest, bytearray] | None:
        """The first message and the code image that follows it, or None when the node has closed the channel.

        Read to the byte and straight to where the image stays: copies on the way would be pages of this process alone.
        """
        length = self._read_exactly(4)
        if length is None:
            return None
        data = self._read_exactly(wire.frame_bytes(length))
        message = None if data is None else wire.decode_to_guest(data)
        image = self._read_exactly(message.image_bytes) if isinstance(message, wire.Load) else bytearray()
        return None if message is None or image is None else (message, image)

    def _read_exactly(self, size: int) -> bytearray | None:
        buffer = bytearray(size)
        view = memoryview(buffer)
        while view:
            received = os.readv(self._fd, [view])
            if not received:
                return None
            view = view[received:]
        return buffer

    def send(self, message: wire.ToNode) -> None:
        """Write one message whole."""
        data = wire.frame(message)
        with self._sending:
            sent = os.write(self._fd, data)
            while sent < len(data):
                sent += os.write(self._fd, memoryview(data)[sent:])

    def call(self, capability: str, operation: str, arguments: dict[str, Any]) -> Any:
        """One capability call; blocks until the broker has answered."""
        try:
            encoded = msgspec.Raw(wire.encode(arguments))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise CapabilityError(
                f"what is handed to {capability}.{operation} is not plain data: {error}",
                code="arguments-not-data",
                hint="Hand over what JSON can carry; whole numbers have 64 bits.",
            ) from error
        if len(bytes(encoded)) > wire.FRAME_LIMIT - _ROOM_BYTES:
            raise CapabilityError(
                f"what is handed to {capability}.{operation} does not fit one message", code="arguments-too-large"
            )
        with self._calling:
            self.host_call_count += 1
            number = self.host_call_count
            self.send(wire.HostCall(number, capability, operation, encoded))
            answer = self.receive()
        if not isinstance(answer, wire.HostReply) or answer.id != number:
            raise WireError("the node answered something else than the capability call")
        if answer.failure is not None:
            failure = answer.failure
            error = PermissionDeniedError if failure.code == "permission-denied" else CapabilityError
            raise error(failure.message, code=failure.code, hint=failure.hint)
        return msgspec.msgpack.decode(answer.value)

    def log(self, level: str, message: str, fields: dict[str, Any]) -> None:
        """One line of the plugin's log; values that are not plain become text."""
        plain = {_text(key): _log_value(value) for key, value in fields.items()}
        self.send(wire.Log(level, _text(message, _LINE_CHARS), plain))


class Guest:
    """Serves one plugin over a channel.

    Args:
        prepare: Called with the `Load` message and the code image that came with it, before the module is imported (an
            isolate mounts the image there).
        plugin: Serve this one rather than import a module's (in tests).
    """

    def __init__(
        self,
        channel: Channel | None = None,
        prepare: Callable[[wire.Load, bytearray], None] | None = None,
        *,
        plugin: Plugin | None = None,
    ) -> None:
        self._channel = channel or Channel(-1)
        self._prepare = prepare
        self._given = plugin
        self._plugin: Plugin | None = None
        self._loaded: wire.Load | None = None
        self._config: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._image = bytearray()

    def redirect_output(self) -> None:
        """`print` and `logging` go to the plugin's log from here on."""
        sys.stdout = _LineStream(self, "info")
        sys.stderr = _LineStream(self, "warning")
        root = logging.getLogger()
        root.handlers[:] = [_LogHandler(self)]
        root.setLevel(logging.INFO)

    def log(self, level: str, message: str, fields: dict[str, Any]) -> None:
        """One line to the plugin's log."""
        self._channel.log(level, message, fields)

    def serve(self) -> None:
        """Answer until the node closes the channel."""
        is_open = self.serve_first()
        while is_open:
            is_open = self.serve_one()
        self.close()

    def serve_first(self) -> bool:
        """Answer the first message, which a code image may follow; False when the node has closed the channel."""
        first = self._channel.receive_first()
        if first is None:
            return False
        message, self._image = first
        self._channel.send(self._answer(message))
        return True

    def serve_one(self) -> bool:
        """Answer one message; False when the node has closed the channel."""
        message = self._channel.receive()
        if message is None:
            return False
        self._channel.send(self._answer(message))
        return True

    def _answer(self, message: wire.ToGuest) -> wire.Ready | wire.Result:
        if isinstance(message, wire.Call):
            return self._run(message)
        if isinstance(message, wire.Load):
            return self._load(message)
        if isinstance(message, wire.Describe):
            return self._describe(message)
        raise WireError("a reply to no capability call")

    def close(self) -> None:
        """Give back the event loop that `async def` handlers ran in."""
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    def unload(self) -> None:
        """Let go of the plugin."""
        self._plugin = self._loaded = self._config = None
        self._image = bytearray()

    @property
    def host_call_count(self) -> int:
        """Capability calls made so far; the next one has the next number."""
        return self._channel.host_call_count

    def _load(self, message: wire.Load) -> wire.Ready:
        try:
            if message.protocol != wire.PROTOCOL_VERSION:
                raise WireError(f"protocol {message.protocol}, this SDK speaks {wire.PROTOCOL_VERSION}")
            plugin = self._given or self._import(message)
            self._loaded = message
            self._config = _NOT_TYPED
            self._plugin = plugin
        except BaseException as error:  # whatever an author's module raises on import is his to read
            return wire.Ready(wire.PROTOCOL_VERSION, failure_of(error))
        return wire.Ready(wire.PROTOCOL_VERSION)

    def _import(self, message: wire.Load) -> Plugin:
        if self._prepare is not None:
            self._prepare(message, self._image)
        module = sys.modules.get(message.entry) or importlib.import_module(message.entry)
        plugin = getattr(module, "plugin", None)
        if not isinstance(plugin, Plugin):
            raise ManifestError(f"{message.entry}.py does not define `plugin`", hint="plugin = jf.Plugin(…)")
        return plugin

    def _configuration(self) -> Any:
        """The configuration, typed when a handler asks for it first: many never do.

        Raises:
            PluginError: `config-incomplete`.
        """
        if self._config is _NOT_TYPED and self._plugin is not None and self._loaded is not None:
            self._config = self._typed_config(self._plugin, self._loaded)
        if isinstance(self._config, PluginError):
            raise self._config.with_traceback(None)
        return self._config

    def _typed_config(self, plugin: Plugin, message: wire.Load) -> Any:
        if plugin.config_type is None:
            return None
        values = msgspec.msgpack.decode(message.config)
        values.update({name: name for name in message.secrets})

        def handle(annotation: type, value: Any) -> Any:
            if annotation is Secret:
                return Secret(
                    value,
                    lambda name: self._channel.call("secrets", "reveal", {"name": name}),
                    lambda name: self._channel.call("secrets", "ref", {"name": name}),
                )
            raise TypeError(f"no configuration value of type {annotation!r}")

        try:
            return msgspec.convert(values, plugin.config_type, dec_hook=handle)
        except msgspec.ValidationError as error:
            # Incomplete until the tenant has configured it; only handlers that read it are in trouble.
            return PluginError(
                f"the configuration is not complete: {error}", code="config-incomplete", hint="Set it in the settings."
            )

    def _describe(self, message: wire.Describe) -> wire.Result:
        try:
            if self._plugin is None:
                raise WireError("nothing is loaded")
            return wire.Result(message.id, msgspec.Raw(wire.encode(msgspec.to_builtins(self._plugin.manifest()))))
        except BaseException as error:  # an author's declarations may be wrong in any way
            return wire.Result(message.id, failure=failure_of(error))

    def _run(self, call: wire.Call) -> wire.Result:
        context: Context | None = None
        try:
            if self._plugin is None:
                raise WireError("nothing is loaded")
            handler = self._plugin.handlers.get(call.handler)
            if handler is None:
                raise WireError(f"no handler `{call.handler}`")
            context = Context(call.context, self._configuration, self._channel, self._plugin.translations)
            payload = msgspec.msgpack.decode(call.payload)
            is_plain = call.is_plain and handler.takes == "arguments"
            given = payload if is_plain else _typed(payload, handler)
            value = self._invoke(handler, context, given)
            return wire.Result(
                call.id, msgspec.Raw(_encode(call.kind, payload, given, value)), metrics=context.counted()
            )
        except BaseException as error:  # SystemExit and KeyboardInterrupt from a plugin are failures like any other
            counted = None if context is None else context.counted()
            return wire.Result(call.id, failure=failure_of(error), metrics=counted)

    def _invoke(self, handler: Handler, context: Context, given: Any) -> Any:
        function = handler.function
        if handler.takes == "nothing":
            result = function(context)
        elif handler.takes == "arguments":
            arguments = cast("dict[str, Any]", given) if isinstance(given, dict) else _fields(given)
            result = function(context, **arguments)
        else:
            result = function(context, given)
        if inspect.iscoroutine(result):
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
            result = self._loop.run_until_complete(result)
        return result


def _fields(struct: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def failure_of(error: BaseException) -> wire.Failure:
    """What is told about an exception that left a plugin."""
    if isinstance(error, PluginError):
        code, message, hint = _text(error.code, _CODE_CHARS), _text(error), _text(error.hint)
        if isinstance(error, VetoError):
            return wire.Failure(code, message, hint, kind="veto")
        if isinstance(error, UserError):
            return wire.Failure(code, message, hint, kind="user")
        if isinstance(error, RetryLaterError):
            return wire.Failure(code, message, hint, kind="retry", retry_after_s=_seconds(error.after_s))
        return wire.Failure(code, message, hint, _trace(error))
    if isinstance(error, MemoryError):
        return wire.Failure(
            "memory-exceeded", "the plugin ran out of memory", "Ask for more in `limits`.", _trace(error)
        )
    name = _text(type(error).__name__, _CODE_CHARS)
    return wire.Failure("plugin-error", f"{name}: {_text(error)}", "", _trace(error))


def _text(value: object, limit: int = _TEXT_CHARS) -> str:
    """What a value says of itself, fit for the wire: cut, and without lone surrogates."""
    try:
        return str(value)[:limit].encode(errors="replace").decode()
    except Exception:  # an exception's own __str__ is plugin code
        return "(no text)"


def _log_value(value: object) -> str | int | float | bool | None:
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int) and -_MAX_INTEGER <= value < _MAX_INTEGER:
        return value
    return _text(value, _LINE_CHARS)


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and 0 <= value <= _YEAR_S else None


def _typed(payload: Any, handler: Handler) -> Any:
    """A payload as the handler's type. The plugin's own validation errors must not be taken for this one's."""
    if handler.takes == "nothing":
        return None
    try:
        return msgspec.convert(payload, handler.payload)
    except msgspec.ValidationError as error:
        raise PluginError(
            str(error), code="payload-mismatch", hint="The value does not fit the handler's type."
        ) from error


def _filtered(payload: Any, given: Any, value: Any) -> Any:
    """What a filter makes of a payload. Nothing returned means nothing changed.

    A struct knows only some of the payload's fields. What the handler changed among them is applied; the host's other
    fields pass through as they are.
    """
    if value is None:
        return payload
    if not isinstance(payload, dict) or not isinstance(given, msgspec.Struct) or not isinstance(value, type(given)):
        return value
    before: dict[str, Any] = to_plain(given)
    after: dict[str, Any] = to_plain(value)
    merged = dict(cast("dict[str, Any]", payload))
    for name in before.keys() - after.keys():
        merged.pop(name, None)
    merged.update({name: new for name, new in after.items() if name not in before or before[name] != new})
    return merged


def _response(value: Any) -> dict[str, Any]:
    """A route's answer in the one form that the node knows, so that no data can be mistaken for it."""
    answer = value if isinstance(value, Response) else Response(value)
    return {
        "body": bytes(answer.body) if isinstance(answer.body, (bytes, bytearray)) else to_plain(answer.body),
        "status": answer.status,
        "content_type": answer.content_type,
        "headers": to_plain(answer.headers),
    }


def _encode(kind: str, payload: Any, given: Any, value: Any) -> bytes:
    try:
        if kind == "filter":
            value = to_plain(_filtered(payload, given, value))
        elif kind in ("route", "webhook"):
            # Not through `to_plain` as a whole: a response's body may be bytes, which JSON data may not.
            value = _response(value)
        else:
            value = to_plain(value)
        encoded = wire.encode(value)
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        raise PluginError(
            f"the handler's result is not plain data: {error}",
            code="result-not-data",
            hint="Return what JSON can carry; whole numbers have 64 bits.",
        ) from error
    if len(encoded) > wire.FRAME_LIMIT - _ROOM_BYTES:
        # Sent, it would end the isolate as a breach of the protocol.
        raise PluginError("the handler's result does not fit one message", code="result-too-large", hint="Return less.")
    return encoded


def _trace(error: BaseException) -> str:
    """The trace, the plugin's own frames alone: ours, and where the host keeps its files, are nobody's business."""
    try:
        # The package that seals us is above the SDK, so it is looked for rather than imported.
        sealing = getattr(sys.modules.get("jackfield_sandbox"), "__file__", None) or "<none>/"
        hidden = ("<frozen", _OWN_FOLDER, sealing.rpartition("/")[0])
        report = traceback.TracebackException.from_exception(error, limit=-_TRACE_FRAMES, compact=True)
        for part in _chain(report):
            frames = [frame for frame in part.stack if not frame.filename.startswith(hidden)]
            for frame in frames:
                frame.filename = frame.filename.removeprefix(sys.base_prefix)
                if frame.filename.startswith("/"):
                    frame.filename = "…/" + frame.filename.rpartition("/")[2]
            part.stack[:] = frames
        return _text("".join(report.format())[-_TRACE_CHARS:], _TRACE_CHARS)
    except Exception:  # formatting calls the exception's own code
        return ""


def _chain(report: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    current: traceback.TracebackException | None = report
    for _ in range(10):
        if current is None:
            return
        yield current
        current = current.__cause__ or current.__context__


class _LineStream(io.TextIOBase):
    """`print` into the plugin's log, line by line."""

    def __init__(self, guest: Guest, level: str) -> None:
        super().__init__()
        self._guest = guest
        self._level = level
        self._rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, rest = (self._rest + text).split("\n")
        for line in lines:
            self._guest.log(self._level, line, {})
        self._rest = rest[:_LINE_CHARS]
        return len(text)

    def flush(self) -> None:
        if self._rest:
            self._guest.log(self._level, self._rest, {})
            self._rest = ""


class _LogHandler(logging.Handler):
    """`logging` into the plugin's log."""

    def __init__(self, guest: Guest) -> None:
        super().__init__()
        self._guest = guest

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        known = level if level in ("debug", "info", "warning", "error") else "error"
        self._guest.log(known, self.format(record), {"logger": record.name})
