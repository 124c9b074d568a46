"""Results that are more, or other, than data."""

from __future__ import annotations

from tests.hostile.case import CPU, MEMORY, OK, TIMEOUT, VIOLATION, Case, Class, End, raised
from tests.hostile.cases.plugins import SMALL

__all__ = ["SERIALISATION"]

_NOT_DATA = End("error", "result-not-data")


def _is_text(value: object) -> bool:
    """Bytes cross as base64 and stay that: nothing on the way looks into them."""
    return isinstance(value, str)


SERIALISATION = Class("serialisation", SMALL, [
    Case("a pickle", """
        import pickle
        class Bomb:
            def __reduce__(self):
                return (os.system, ('touch ' + about['folder'] + '/pickled',))
        return pickle.dumps(Bomb())
    """, OK, _NOT_DATA, raised("PicklingError", "AttributeError"), accepts=_is_text),
    Case("a pickle by hand", "return b'cposix\\nsystem\\n(S\"true\"\\ntR.'", OK, accepts=_is_text),
    Case("a pickle as text", "return 'cposix\\nsystem\\n(S\"true\"\\ntR.'", OK,
         accepts=lambda value: value == 'cposix\nsystem\n(S"true"\ntR.'),
    Case("a marshalled program", """
        import marshal
        return marshal.dumps(compile('1', 'x', 'exec'))
    """, OK, accepts=_is_text),
    Case("an object that would rebuild itself", """
        class Bomb:
            def __reduce__(self):
                return (print, ('x',))
        return Bomb()
    """, _NOT_DATA),
    Case("an object of a false class", """
        class Mask:
            __class__ = property(lambda self: dict)
            def items(self):
                os._exit(7)
        return Mask()
    """, _NOT_DATA),
    Case("a dict that runs code", """
        class Odd(dict):
            def items(self):
                raise SystemExit(3)
            __iter__ = keys = __len__ = items
        return Odd(a=1)
    """, OK, _NOT_DATA, raised("SystemExit"), accepts=lambda value: value in ({"a": 1}, {})),
    Case("keys that equal everything", """
        class Key(str):
            def __eq__(self, other):
                return True
            __hash__ = str.__hash__
        return {Key('a'): 1, Key('b'): 2}
    """, OK, _NOT_DATA, accepts=lambda value: set(value) <= {"a", "b"}),
    Case("not a number", "return float('nan')", OK, _NOT_DATA, accepts=lambda value: value is None),
    Case("infinity", "return [float('inf'), -float('inf')]", OK, _NOT_DATA,
         accepts=lambda value: value == [None, None]),
    Case("half a character", "return '\\ud800'", _NOT_DATA),
    Case("half a character in a key", "return {'\\udfff': 1}", _NOT_DATA),
    Case("a number beyond 64 bits", "return 2 ** 64", _NOT_DATA),
    Case("a negative number beyond 64 bits", "return -2 ** 63 - 1", _NOT_DATA),
    Case("keys that are no texts", "return {1: 2, (1, 2): 3}", OK, _NOT_DATA,
         accepts=lambda value: all(isinstance(key, str) for key in value)),
    Case("a list in itself", """
        ring = []
        ring.append(ring)
        return ring
    """, _NOT_DATA, MEMORY, raised("RecursionError")),
    Case("nesting without end", """
        value = []
        for _ in range(100_000):
            value = [value]
        return value
    """, _NOT_DATA, raised("RecursionError")),
    Case("a hundred thousand keys", "return {f'k{n}': None for n in range(100_000)}", _NOT_DATA,
         End("error", "result-too-large")),
    Case("the same thing a million times", """
        value = ['x' * 100] * 100
        for _ in range(4):
            value = [value] * 100
        return value
    """, MEMORY, CPU, TIMEOUT, _NOT_DATA, End("error", "result-too-large")),
    Case("bytes made to look like a message", "return wire.frame(wire.Result(1, raw(2)))", OK, accepts=_is_text),
    Case("raw msgpack", "return msgspec.Raw(b'\\xc1')", _NOT_DATA, VIOLATION),
    Case("an extension type", "return msgspec.msgpack.Ext(5, b'abc')", _NOT_DATA),
    Case("a struct with a tag", """
        class Fake(msgspec.Struct, array_like=True, tag='result'):
            id: int = 1
        return Fake()
    """, OK, _NOT_DATA, accepts=lambda value: value == ["result", 1]),
    Case("a generator without end", "return (n for n in iter(int, 1))", _NOT_DATA, CPU, TIMEOUT, MEMORY),
    Case("a set", "return {1, 2}", OK, _NOT_DATA, accepts=lambda value: sorted(value) == [1, 2]),
    Case("a name that means something elsewhere", """
        return {'__proto__': {'polluted': True}, 'constructor': 1, '$ref': 'file:///etc/passwd', '$where': '1'}
    """, OK, accepts=lambda value: value["__proto__"] == {"polluted": True}),
    Case("markup", "return '<script>alert(1)</script>{{7*7}}'", OK,
         accepts=lambda value: value == "<script>alert(1)</script>{{7*7}}"),
    Case("text with NUL", "return 'a\\x00b'", OK, _NOT_DATA, accepts=lambda value: value == "a\x00b"),
])  # fmt: skip
