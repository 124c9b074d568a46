"""Too much to read, and things to read that do something to the reader."""

from __future__ import annotations

from tests.hostile.case import CPU, MEMORY, OK, TIMEOUT, VIOLATION, Case, Class, End, raised
from tests.hostile.cases.plugins import SMALL

__all__ = ["OUTPUT"]

OUTPUT = Class("output", SMALL, [
    Case("print without end", """
        while True:
            print('x' * 1000)
    """, VIOLATION, CPU, TIMEOUT),
    Case("a gigabyte in one line", "print('x' * (1 << 30))", MEMORY),
    Case("a line that never ends", """
        while True:
            print('x' * 1000, end='')
    """, VIOLATION, CPU, TIMEOUT, MEMORY),
    Case("lines without number", """
        for _ in range(100_000):
            print()
        return 1
    """, OK, VIOLATION, CPU, TIMEOUT, accepts=lambda value: value == 1),
    Case("somewhat too much", """
        for _ in range(100):
            print('y' * 3000)
        return 1
    """, OK, accepts=lambda value: value == 1),
    Case("control characters", "print('\\x1b[2J\\x1b]0;owned\\x07\\x9b31m\\u202e\\ufeff\\x00')\nreturn 1", OK,
         accepts=lambda value: value == 1),
    Case("a forged line", "print('first\\rsecond\\x85third\\u2028fourth'); ctx.log.info('a\\nlevel=error b')\nreturn 1",
         OK, accepts=lambda value: value == 1),
    Case("bytes that are no text", "sys.stdout.write('\\udcff\\udc80')\nprint()\nreturn 1", OK,
         accepts=lambda value: value == 1),
    Case("logging fields that lie", """
        class Evil:
            def __str__(self):
                raise SystemExit(1)
        ctx.log.info(Evil(), field=Evil())
        return 1
    """, OK, raised("SystemExit"), accepts=lambda value: value == 1),
    Case("fields without number", "ctx.log.info('many', **{f'k{n}': n for n in range(5000)})\nreturn 1", OK, VIOLATION,
         accepts=lambda value: value == 1),
    Case("numbers that are none", "ctx.log.info('nan', a=float('nan'), b=float('inf'))\nreturn 1", OK,
         accepts=lambda value: value == 1),
    Case("a level of one's own", "say(wire.Log('\\x1b[31mCRITICAL\\n', 'x'))\nreturn 1", OK,
         accepts=lambda value: value == 1),
    Case("logging by the library", """
        import logging
        logging.getLogger('a\\nb').critical('%s', 'x' * 100_000)
        return 1
    """, OK, accepts=lambda value: value == 1),
    Case("an enormous error", "raise ValueError('x' * 10_000_000)", raised("ValueError")),
    Case("an error with control characters", "raise ValueError('\\x1b[2J\\r\\n\\x00\\u202e')", raised("ValueError")),
    Case("an error of an enormous name", "raise type('E' * 100_000, (Exception,), {})('x')",
         End("error", "plugin-error")),
    Case("an error with a name of its own", "raise type('A\\x1b[2J\\nB', (Exception,), {})('x')",
         End("error", "plugin-error")),
    Case("an error with a code of its own", "raise jf.UserError('x', code='../../x\\n', hint='\\x1b[2J')",
         End("user-error", "plugin-error")),
    Case("an error with a text that is no text", """
        class Odd(Exception):
            def __str__(self):
                return 7
        raise Odd
    """, End("error", "plugin-error")),
    Case("a chain of errors without end", """
        error = None
        for number in range(20_000):
            new = ValueError(str(number))
            new.__cause__ = error
            error = new
        raise error
    """, raised("ValueError"), MEMORY),
    Case("a ring of errors", """
        one, two = ValueError('one'), ValueError('two')
        one.__cause__, two.__cause__ = two, one
        raise one
    """, raised("ValueError")),
    Case("enormous values in the trace", """
        hoard = ['x' * 1_000_000] * 20
        def fail(argument):
            raise KeyError(argument[0][:2_000])
        fail(hoard)
    """, raised("KeyError")),
    Case("a trace that hides", """
        code = compile('raise ValueError("x")', '\\x1b[2J/etc/passwd', 'exec')
        exec(code)
    """, raised("ValueError")),
    Case("the source of the platform in a trace", """
        exec(compile('raise ValueError("x")', about['secret'], 'exec'))
    """, raised("ValueError")),
])  # fmt: skip
