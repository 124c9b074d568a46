"""Logs of the platform itself: structured, with the ids of whose work is being done, and without secrets.

Plugins' own log lines are records, not these.
"""

from __future__ import annotations

import itertools
import logging
import re
import sys
from collections.abc import Generator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TextIO, cast

import structlog

__all__ = ["MASK", "bound", "configure", "redact"]

MASK = "[redacted]"

# Whole words of a key, split at case and punctuation: `api_key`, `apiKey`, `X-Auth-Token`, but neither `keyboard` nor
# `idempotency_key`.
_SECRET_WORDS = frozenset(
    {"secret", "secrets", "password", "passwd", "passphrase", "token", "authorization", "cookie", "credential",
     "credentials", "signature", "bearer", "jwt", "pin"}
)  # fmt: skip
_SECRET_PAIRS = frozenset(
    {("api", "key"), ("private", "key"), ("access", "key"), ("signing", "key"), ("encryption", "key"),
     ("master", "key")}
)  # fmt: skip
# About a secret, but not one: `token_id`, `secret_names`, `password_updated_at`.
_HARMLESS_ENDS = frozenset({"id", "ids", "name", "names", "at", "count", "prefix", "type", "kind", "bytes", "s"})
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
# Our own tokens and bearer credentials, wherever they stand in a text; the password in a URL.
_SECRET_TEXTS = (
    re.compile(r"\b(jf_[a-z]+_)[A-Za-z0-9_-]{20,}"),
    re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]{8,}"),
    re.compile(r"(://[^/\s:@]*:)[^/\s@]+(?=@)"),
)
_DEPTH_LIMIT = 16


def configure(
    *, form: Literal["console", "json"] = "console", level: int = logging.INFO, stream: TextIO | None = None
) -> None:
    """Set up logging for the process: structlog, and the standard library's loggers through the same processors."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Redaction comes after the traces are text: an exception's message may hold a secret.
    rendering: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, _redact_event, structlog.processors.JSONRenderer()]
        if form == "json"
        else [structlog.processors.format_exc_info, _redact_event, structlog.dev.ConsoleRenderer(colors=False)]
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)


@contextmanager
def bound(
    *, tenant_id: str | None = None, plugin: str | None = None, invocation_id: str | None = None
) -> Generator[None]:
    """Name whose work is done: every log line inside, in this task and those it starts, carries these ids."""
    given = {"tenant_id": tenant_id, "plugin": plugin, "invocation_id": invocation_id}
    with structlog.contextvars.bound_contextvars(**{key: value for key, value in given.items() if value is not None}):
        yield


def redact(value: Any) -> Any:
    """A copy of plain data with what looks like a secret masked, by key or by the look of the text."""
    return _redact(value, 0)


def _redact(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        for pattern in _SECRET_TEXTS:
            value = pattern.sub(rf"\1{MASK}", value)
        return value
    if depth >= _DEPTH_LIMIT:
        return MASK if isinstance(value, Mapping | list | tuple | set | frozenset) else value
    if isinstance(value, Mapping):
        items = cast(Mapping[Any, Any], value).items()
        return {
            key: MASK
            if isinstance(key, str) and _names_a_secret(key) and item is not None
            else _redact(item, depth + 1)
            for key, item in items
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_redact(item, depth + 1) for item in cast(Sequence[Any], value)]
    return value


def _names_a_secret(key: str) -> bool:
    words = [word.lower() for word in _WORDS.findall(key)]
    if not words or words[-1] in _HARMLESS_ENDS:
        return False
    if any(word in _SECRET_WORDS for word in words):
        return True
    return any(pair in _SECRET_PAIRS for pair in itertools.pairwise(words)) or "apikey" in words


def _redact_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return cast(MutableMapping[str, Any], _redact(event, 0))
