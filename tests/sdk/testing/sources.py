"""What the source of a module says, for tests that hold it against another's."""

from __future__ import annotations

import ast
import inspect
from types import ModuleType

__all__ = ["codes"]


def codes(*modules: ModuleType) -> set[str]:
    """Every text that is given as `code=` in a call."""
    return {
        text.value
        for module in modules
        for call in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg == "code"
        for text in ast.walk(keyword.value)
        if isinstance(text, ast.Constant) and isinstance(text.value, str) and "-" in text.value
    }
