"""A plugin of our own that compiles source files, so that hostile source meets the compiler inside an isolate."""

from __future__ import annotations

import base64
import marshal
from typing import Any

from jackfield_sdk.context import Context
from jackfield_sdk.errors import UserError
from jackfield_sdk.plugin import Plugin

__all__ = ["plugin"]

plugin = Plugin("jackfield-compiler", version="1.0.0")


@plugin.filter("compiler.compile")
def compile_files(_ctx: Context, files: Any) -> dict[str, str]:
    """Path → source bytes in; path → base64 of the marshalled code out.

    Marshal version 2 has no back references, whose placing depends on reference counts: the same source gives the same
    bytes in every process.
    """
    out: dict[str, str] = {}
    for path, source in files.items():
        try:
            code = compile(source, path.partition("/")[2], "exec", dont_inherit=True, optimize=0)
        except SyntaxError as error:
            raise UserError(f"{path}, line {error.lineno}: {error.msg}", code="source-invalid") from error
        except (ValueError, RecursionError, MemoryError, OverflowError) as error:
            raise UserError(f"{path}: {type(error).__name__}: {error}", code="source-invalid") from error
        out[path] = base64.b64encode(marshal.dumps(code, 2)).decode()
    return out
