"""Where the plugin runs: the guest loop of a real isolate, over a channel in memory."""

from __future__ import annotations

import asyncio
import itertools
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from jackfield_sdk import wire
from jackfield_sdk.capabilities import host as hosts
from jackfield_sdk.errors import PermissionDeniedError, PluginError, RetryLaterError, UserError, VetoError
from jackfield_sdk.guest import Guest
from jackfield_sdk.manifest import Manifest
from jackfield_sdk.plugin import Plugin
from jackfield_sdk.testing.channel import MemoryChannel
from jackfield_sdk.transports import patch_loaded

__all__ = ["Isolate"]


class Isolate:
    """One guest with one configuration.

    Args:
        broker: Answers capability calls.
        log: Takes the plugin's log lines.

    Raises:
        PluginError: The plugin cannot be loaded.
    """

    def __init__(
        self,
        plugin: Plugin,
        manifest: Manifest,
        config: dict[str, Any],
        secrets: list[str],
        broker: Callable[[wire.HostCall], wire.HostReply],
        log: Callable[[wire.Log], None],
    ) -> None:
        self.metrics: dict[str, int] = {}
        self._channel = MemoryChannel(broker, log)
        self._guest = Guest(self._channel, plugin=plugin)
        self._numbers = itertools.count(1)
        # An `async def` handler leaves an event loop open; nobody should have to remember that.
        self.close = weakref.finalize(self, self._guest.close)
        encoded = msgspec.Raw(wire.encode(config))
        self._exchange(wire.Load(wire.PROTOCOL_VERSION, manifest.slug, manifest.entry, encoded, secrets))

    def run(self, kind: str, handler: str, payload: Any, context: wire.CallContext) -> Any:
        """Run one handler; its value as plain data.

        Raises:
            PluginError: What the handler raised; its trace is in a note.
        """
        wire.check_depth(payload)
        answer = self._exchange(
            wire.Call(next(self._numbers), kind, handler, msgspec.Raw(wire.encode(payload)), context)
        )
        return msgspec.msgpack.decode(answer.value) if isinstance(answer, wire.Result) else None

    def _exchange(self, message: wire.ToGuest) -> wire.Ready | wire.Result:
        self._channel.put(message)
        # HTTP libraries that the plugin uses ask the platform of the test, and go on as always outside its calls.
        patch_loaded()
        hosts.current.append(self._channel)
        try:
            self._serve()
        finally:
            hosts.current.pop()
        answer = self._channel.take()
        if isinstance(answer, wire.Result) and answer.metrics:
            for name, count in answer.metrics.items():
                self.metrics[name] = self.metrics.get(name, 0) + count
        if answer.failure is not None:
            raise _error_of(answer.failure)
        return answer

    def _serve(self) -> None:
        if _is_loop_running():
            # In an async test: an `async def` handler needs a loop of its own, and this thread has one running.
            with ThreadPoolExecutor(1) as thread:
                thread.submit(self._guest.serve_one).result()
        else:
            self._guest.serve_one()


def _is_loop_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _error_of(failure: wire.Failure) -> PluginError:
    """A failure as the error that the handler raised, as far as the wire tells."""
    if failure.kind == "retry":
        later = RetryLaterError(failure.message, after_s=failure.retry_after_s, hint=failure.hint)
        later.code = failure.code
        return later
    type_ = {"user": UserError, "veto": VetoError}.get(failure.kind, PluginError)
    if failure.code == PermissionDeniedError.code:
        type_ = PermissionDeniedError
    error = type_(failure.message, code=failure.code, hint=failure.hint)
    if failure.trace:
        error.add_note(failure.trace)
    return error
