"""A plugin that speaks to the node itself, and not what was agreed."""

from __future__ import annotations

from tests.hostile.case import CPU, CRASHED, OK, TIMEOUT, VIOLATION, Case, Class, End
from tests.hostile.cases.plugins import SPEAKER

__all__ = ["PROTOCOL"]

_SHORT = 400
_NOT_DATA = End("error", "result-not-data")


def _result(name: str, value: str, *ends: End) -> Case:
    """A result whose value is these bytes of msgpack."""
    return Case(name, f"say(wire.Result(number(ctx), msgspec.Raw({value})))\nos._exit(0)", *(ends or (_NOT_DATA,)))


# A call that is not answered by what was said would wait until its time is over; that is no pass, so there is no
# TIMEOUT among these.
PROTOCOL = Class("protocol", SPEAKER, [
    Case("a length of four gigabytes", "say(b'\\xff\\xff\\xff\\xff' + bytes(100))\nos._exit(0)", VIOLATION),
    Case("a length just over the limit", "say((5 << 20).to_bytes(4, 'little'))\nos._exit(0)", VIOLATION),
    Case("an empty frame", "say(bytes(4))\nos._exit(0)", VIOLATION),
    Case("half a frame", "say(b'\\x10\\x00\\x00\\x00abc')\ntime.sleep(5)", TIMEOUT, timeout_ms=_SHORT),
    Case("half a frame, then the answer", "say(b'\\x10\\x00\\x00\\x00abc')\nreturn 1", VIOLATION),
    Case("garbage", "say(os.urandom(65536))\ntime.sleep(5)", VIOLATION, TIMEOUT, timeout_ms=_SHORT),
    Case("garbage in a frame", "say(b'\\x08\\x00\\x00\\x00' + b'\\xc1' * 8)\nos._exit(0)", VIOLATION),
    Case("another kind of message", "say(wire.frame(['load', 1, 'x', 'y', None]))\nos._exit(0)", VIOLATION),
    Case("a message with more in it", "say(wire.frame(['result', number(ctx), None, None, 'more']))\nos._exit(0)",
         VIOLATION),
    Case("a message with less in it", "say(wire.frame(['host', 1]))\nos._exit(0)", VIOLATION),
    Case("no message at all", "say(wire.frame({'type': 'result'}))\nos._exit(0)", VIOLATION),
    Case("an answer to another call", "say(wire.Result(number(ctx) + 1))\nos._exit(0)", VIOLATION),
    Case("an answer to the last call", "say(wire.Result(number(ctx) - 1))\nos._exit(0)", VIOLATION),
    Case("an answer to no call", "say(wire.frame(['result', -1, None, None]))\nos._exit(0)", VIOLATION),
    Case("an answer to a call beyond all numbers", "say(wire.frame(['result', 2 ** 64 - 1, None, None]))\nos._exit(0)",
         VIOLATION),
    Case("answer twice", "say(wire.frame(wire.Result(number(ctx), raw(1))) * 2)\nos._exit(0)", VIOLATION),
    Case("speak after the answer", """
        say(wire.frame(wire.Result(number(ctx), raw(1))) + wire.frame(wire.Log('info', 'more')))
        os._exit(0)
    """, VIOLATION),
    Case("be ready twice", "say(wire.Ready(wire.PROTOCOL_VERSION))\nos._exit(0)", VIOLATION),
    Case("say that sealing failed", """
        say(wire.Ready(wire.PROTOCOL_VERSION, wire.Failure('seal-failed', 'x')))
        os._exit(0)
    """, VIOLATION),
    Case("answer byte by byte", """
        data = wire.frame(wire.Result(number(ctx), raw('drop by drop')))
        for position in range(len(data)):
            say(data[position:position + 1])
        os._exit(0)
    """, OK, accepts=lambda value: value == "drop by drop"),
    _result("a result that is nested too deeply", "b'\\x91' * 100_000 + b'\\xc0'", _NOT_DATA, VIOLATION),
    _result("a result with a hole", "b'\\x92\\x01'", _NOT_DATA, VIOLATION),
    _result("a result that promises too much", "b'\\xdd\\xff\\xff\\xff\\xff\\x01'", _NOT_DATA, VIOLATION),
    _result("a result of an extension type", "b'\\xc7\\x03\\x05abc'"),
    _result("a result with a timestamp", "b'\\xd6\\xff\\x00\\x00\\x00\\x00'"),
    _result("a result of bytes", "b'\\xc4\\x03abc'"),
    _result("a result that is not text", "b'\\xa3\\xff\\xfe\\xfd'", _NOT_DATA, VIOLATION),
    _result("a number beyond 64 bits", "b'\\xcf' + b'\\xff' * 8"),
    _result("keys that are lists", "b'\\x82\\x91\\x01\\x01\\x91\\x02\\x02'"),
    _result("keys that are numbers, and collide",
            "b'\\xde\\x40\\x00' + b''.join(b'\\xcf' + (n << 48).to_bytes(8, 'big') + b'\\xc0' for n in range(16384))"),
    Case("one key twice", "say(wire.Result(number(ctx), msgspec.Raw(b'\\x82\\xa1a\\x01\\xa1a\\x02')))\nos._exit(0)",
         OK, _NOT_DATA, accepts=lambda value: value == {"a": 2}),
    _result("values without number", "b'\\xdd\\x00\\x0e\\x00\\x00' + b'\\xc0' * 917_504"),
    Case("a result over the limit", "return 'x' * (1 << 20)", End("error", "result-too-large")),
    Case("a result far over the limit", "return 'x' * (9 << 20)", End("error", "result-too-large")),
    Case("a failure with a mask of its own", """
        mask = wire.Failure('X\\r\\nSet-Cookie: a=b', '\\x1b[2J\\x00', '\\u202e', 'x' * 900_000)
        say(wire.Result(number(ctx), failure=mask))
        os._exit(0)
    """, End("error", "plugin-error")),
    Case("a failure of an unknown kind", """
        say(wire.Result(number(ctx), failure=wire.Failure('mine', 'm', '', '', 'operator', float('nan'))))
        os._exit(0)
    """, End("error", "mine")),
    Case("capability calls without end", """
        for index in range(5000):
            ctx.storage.get('k')
    """, End("error", "host-calls-exceeded")),
    Case("capability calls whose answers nobody reads", """
        for index in range(200_000):
            say(wire.HostCall(index, 'storage', 'get', raw({'key': 'k'})))
        os._exit(0)
    """, VIOLATION, CPU),
    Case("large answers that nobody reads", """
        ctx.storage.set('large', 'x' * 200_000)
        first = ctx.storage._host.host_call_count
        for index in range(900):
            say(wire.HostCall(first + index, 'storage', 'get', raw({'key': 'large'})))
        os._exit(0)
    """, VIOLATION, CPU),
    Case("a capability call that is too large", "host_call(ctx, 'storage', 'set', key='k', value='x' * 600_000)",
         End("error", "host-call-too-large")),
    Case("a capability call with a number of its own", """
        say(wire.frame(['host', 2 ** 70, 'storage', 'get', {}]))
        os._exit(0)
    """, VIOLATION, End("error", "plugin-error")),
    Case("arguments that are no map", """
        say(wire.HostCall(ctx.storage._host.host_call_count + 1, 'storage', 'get', msgspec.Raw(b'\\x91\\xc0')))
        return ctx.storage._host.receive().failure.code
    """, OK, accepts=lambda code: code == "arguments-invalid"),
    Case("arguments that are nested too deeply", """
        deep = msgspec.Raw(b'\\x82\\xa3key\\xa1k\\xa5value' + b'\\x91' * 50_000 + b'\\xc0')
        say(wire.HostCall(ctx.storage._host.host_call_count + 1, 'storage', 'set', deep))
        failure = ctx.storage._host.receive().failure
        return failure and failure.code
    """, OK, VIOLATION, accepts=lambda code: code in {"arguments-invalid", "value-not-data"}),
    Case("another tenant in the arguments", """
        return host_call(ctx, 'storage', 'get', key='note', tenant_id=about['neighbour'])
    """, End("error", "arguments-invalid")),
    Case("another installation in the arguments", """
        return host_call(ctx, 'storage', 'get', key='note', installation_id=about['installation'])
    """, End("error", "arguments-invalid")),
    Case("an operation that does not exist", "return host_call(ctx, 'storage', '__class__')",
         End("error", "unknown-operation")),
    Case("call another plugin, and be called by it", "return host_call(ctx, 'plugins', 'call', slug='hostile-plain')",
         End("error", "unknown-capability")),
    Case("log without end", """
        while True:
            say(wire.Log('info', 'x' * 60_000))
    """, VIOLATION, CPU),
    Case("one enormous log line", "say(wire.Log('info', 'x' * 1_000_000))\nreturn 1", VIOLATION),
    Case("a log field of another type", "say(wire.frame(['log', 'info', 'x', {'a': [1]}]))\nos._exit(0)", VIOLATION),
    Case("leave in the middle of a frame", "say(b'\\x10\\x00\\x00\\x00abc')\nos._exit(0)", CRASHED),
    Case("leave in the middle of a capability call", """
        say(wire.HostCall(1, 'storage', 'get', raw({'key': 'k'})))
        os._exit(0)
    """, CRASHED),
    Case("take the loop over", """
        import jackfield_sdk.guest as guest
        guest.wire.frame = lambda message: b'\\xff' * 4
        return 1
    """, VIOLATION),
    Case("a thread that talks in between", """
        def talk():
            while True:
                say(wire.Log('info', 'in between'))
        threading.Thread(target=talk, daemon=True).start()
        time.sleep(0.05)
        return 1
    """, OK, VIOLATION, CPU, TIMEOUT, CRASHED, accepts=lambda value: value == 1, timeout_ms=2000),
])  # fmt: skip
