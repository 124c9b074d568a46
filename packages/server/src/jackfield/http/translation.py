"""Foreign errors that say "not now" become problem documents too, wherever they come from: an endpoint or what is
around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

from jackfield.errors import JackfieldError
from jackfield.http.problems import problem_of

__all__ = ["TranslationMiddleware"]

_log = structlog.stdlib.get_logger(__name__)


class TranslationMiddleware:
    """Around all others.

    Args:
        translate: Says what an exception is among our errors; None when it is a defect.
    """

    def __init__(self, app: Any, translate: Callable[[Exception], JackfieldError | None]) -> None:
        self._app = app
        self._translate = translate

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def noting(message: Any) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:
            ours = None if has_begun else self._translate(error)
            if ours is None:
                raise
            _log.warning("request-put-off", path=scope["path"], code=ours.code, error=str(error)[:500])
            await problem_of(ours)(scope, receive, send)
