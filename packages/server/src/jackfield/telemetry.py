"""Logs of the platform itself: structured, with the ids of whose work is being done, and without secrets.

Plugins' own log lines are records, not these.
"""

from __future__ import annotations

import functools
import itertools
import logging
import re
import sys
from collections.abc import Callable, Generator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, Protocol, TextIO, cast

import structlog

from jackfield.opened import opening, places

__all__ = ["MASK", "Work", "bound", "configure", "cover", "masked", "names_a_secret", "redact", "working"]

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
# What looks like a secret wherever it stands in a text: (in lower case, what must be there, or there is nothing to look
# for; the pattern, whose first group stays). Whoever writes the text wants them to be slow: none may start again inside
# of what it has failed on, hence the looks behind.
_SECRET_TEXTS: tuple[tuple[tuple[str, ...], re.Pattern[str]], ...] = (
    # Ours, and bearer credentials; the password in a URL.
    (("jf_",), re.compile(r"\b(jf_[a-z]+_)[A-Za-z0-9_-]{20,}")),
    (("bearer",), re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]{8,}")),
    (("://",), re.compile(r"(://[^/\s:@]*:)[^/\s@]+(?=@)")),
    # Those of services that plugins use: Stripe, GitHub, GitLab, Slack, AWS, Google, Telegram, language models.
    (("k_live_", "k_test_", "whsec_"), re.compile(r"\b([sr]k_(?:live|test)_|whsec_)[A-Za-z0-9+/=]{8,}")),
    (("sk-",), re.compile(r"(?<![A-Za-z0-9_-])(sk-)[A-Za-z0-9_-]{20,}")),
    (("gh", "glpat-"), re.compile(r"\b(gh[pousr]_|github_pat_|glpat-)[A-Za-z0-9_-]{20,}")),
    (("xox",), re.compile(r"\b(xox[abeprs]-)[A-Za-z0-9-]{10,}")),
    (("akia", "asia"), re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b")),
    (("aiza",), re.compile(r"\b(AIza)[A-Za-z0-9_-]{30,}")),
    ((":aa",), re.compile(r"(?<!\d)(\d{6,12}:)AA[A-Za-z0-9_-]{30,}")),
    # A JSON web token; a private key.
    (("eyj",), re.compile(r"(?<![A-Za-z0-9_.-])(eyJ)[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*")),
    (("private key-",), re.compile(r"(-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----)(?s:.*?)(?=-----END|\Z)")),
)
# `password = hunter22`: whatever it is, when there is a figure in it. Without one it may be prose or code.
_NAMES = (
    "password", "passwd", "passphrase", "secret", "token", "authorization", "cookie",
    *(f"{kind}{joint}key" for kind in ("api", "access", "private", "signing") for joint in ("", "_", "-", " ")),
)  # fmt: skip
_NAME_CHARS = 24
# The charset first: it is what the engine looks for, and only where it is found it looks back.
_ASSIGNMENT = re.compile(r"[:=](?<=[detny\"' ][:=])")
_ASSIGNED = re.compile(r"\s{0,4}[\"']?([^\s\"',;&(){}<>\[\]]{6,200})")
_DEPTH_LIMIT = 16
_PLAIN_LEVELS = frozenset({"debug", "info"})
_TALKATIVE = ("aiosqlite", "asyncpg", "hpack", "httpcore", "httpx", "sqlalchemy.engine", "sqlalchemy.pool")
"""Below a warning they write down values of statements and addresses with what is secret in them, whatever its look."""


class Work(Protocol):
    """A call that is being answered."""

    @property
    def tenant_id(self) -> str: ...

    @property
    def installation_id(self) -> str: ...

    @property
    def slug(self) -> str: ...

    @property
    def invocation_id(self) -> str: ...


working: ContextVar[Work | None] = ContextVar("jackfield_working", default=None)
"""For whom a capability works in this task: its ids are in each log line. They are read only when there is a line, for
every call passes here."""


def configure(
    *,
    form: Literal["console", "json"] = "console",
    level: int = logging.INFO,
    stream: TextIO | None = None,
    fields: Callable[[], Mapping[str, str]] | None = None,
) -> None:
    """Set up logging for the process: structlog, and the standard library's loggers through the same processors.

    Args:
        fields: What each line has besides, asked for when it is written.
    """

    def add_fields(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        work = working.get()
        if work is not None:
            event.setdefault("tenant_id", work.tenant_id)
            event.setdefault("plugin", work.slug)
            event.setdefault("installation_id", work.installation_id)
            event.setdefault("invocation_id", work.invocation_id)
        if fields is not None:
            for name, value in fields().items():
                event.setdefault(name, value)
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        add_fields,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Redaction comes after the traces are text: an exception's message may hold a secret.
    rendering: list[structlog.typing.Processor] = [structlog.processors.format_exc_info, _redact_event]
    if form == "json":
        rendering.append(structlog.processors.JSONRenderer())
    else:
        rendering += [_one_line, structlog.dev.ConsoleRenderer(colors=False)]
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
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


@contextmanager
def bound(
    *,
    tenant_id: str | None = None,
    plugin: str | None = None,
    invocation_id: str | None = None,
    installation_id: str | None = None,
    delivery_id: str | None = None,
    operation_id: str | None = None,
) -> Generator[None]:
    """Name whose work is done: every log line inside, in this task and those it starts, carries these ids.

    Secrets that are opened inside are in none of its warnings and errors.
    """
    given = {
        "tenant_id": tenant_id, "plugin": plugin, "invocation_id": invocation_id, "installation_id": installation_id,
        "delivery_id": delivery_id, "operation_id": operation_id,
    }  # fmt: skip
    ids = {key: value for key, value in given.items() if value is not None}
    with opening(), structlog.contextvars.bound_contextvars(**ids):
        yield


def redact(value: Any) -> Any:
    """A copy of plain data with what looks like a secret masked, by key or by the look of the text."""
    return _redact(value, 0)


def _redact(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return masked(value)[0]
    if depth >= _DEPTH_LIMIT:
        return MASK if isinstance(value, Mapping | list | tuple | set | frozenset) else value
    if isinstance(value, Mapping):
        items = cast(Mapping[Any, Any], value).items()
        return {
            key: MASK if isinstance(key, str) and names_a_secret(key) and item is not None else _redact(item, depth + 1)
            for key, item in items
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_redact(item, depth + 1) for item in cast(Sequence[Any], value)]
    return value


def masked(text: str) -> tuple[str, int]:
    """A text with what looks like a secret masked, and in how many places."""
    count = 0
    lower = text.lower()
    for signs, pattern in _SECRET_TEXTS:
        for sign in signs:
            if sign in lower:
                text, places = pattern.subn(rf"\1{MASK}", text)
                count += places
                break
    spans = _assigned(text)
    return (cover(text, spans) if spans else text), count + len(spans)


def cover(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """A text with the mask in place of some parts, which come in order and do not overlap."""
    pieces: list[str] = []
    position = 0
    for start, end in spans:
        pieces += (text[position:start], MASK)
        position = end
    return "".join([*pieces, text[position:]])


def _assigned(text: str) -> list[tuple[int, int]]:
    """Where values stand that are called a secret by the word before them."""
    spans: list[tuple[int, int]] = []
    position = 0
    while (found := _ASSIGNMENT.search(text, position)) is not None:
        position = found.end()
        name = text[max(0, position - 1 - _NAME_CHARS) : position - 1].rstrip(" \"'").lower()
        if not name.endswith(_NAMES):
            continue
        value = _ASSIGNED.match(text, position)
        if value is not None:
            # What has no figure has none in its parts either: on, behind it.
            position = value.end()
            if any(map(str.isdigit, value[1])):
                spans.append(value.span(1))
    return spans


@functools.lru_cache(4096)
def names_a_secret(key: str) -> bool:
    """Whether what stands under this key is a secret, by the words that the key is made of."""
    words = [word.lower() for word in _WORDS.findall(key)]
    if not words or words[-1] in _HARMLESS_ENDS:
        return False
    if any(word in _SECRET_WORDS for word in words):
        return True
    return any(pair in _SECRET_PAIRS for pair in itertools.pairwise(words)) or "apikey" in words


def _redact_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    # By value first: what merely looks like a secret may be only a part of one. Debugging and plain news are not
    # searched: the platform writes those itself, and nobody else's text is in them.
    is_searched = event.get("level") not in _PLAIN_LEVELS
    return cast(MutableMapping[str, Any], _redact(_as_text(event, is_searched, 0), 0))


def _as_text(value: Any, is_searched: bool, depth: int) -> Any:
    """Plain data: what is none, as an exception in a field, would be made a text after it was looked at."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        # A secret of figures alone may be logged as the number that it is.
        return MASK if is_searched and places(str(value)) else value
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        if depth >= _DEPTH_LIMIT:
            return MASK
        if isinstance(value, Mapping):
            items = cast(Mapping[Any, Any], value).items()
            return {
                # The names of a line's own fields are ours, and a line without `event` or `level` tells nothing.
                _as_text(key, is_searched and depth > 0, depth + 1): _as_text(item, is_searched, depth + 1)
                for key, item in items
            }
        return [_as_text(item, is_searched, depth + 1) for item in cast(Sequence[Any], value)]
    text = value if isinstance(value, str) else repr(value)
    spans = places(text) if is_searched else None
    return cover(text, spans) if spans else text


def _one_line(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """On a terminal, what somebody else has written can neither look like another line nor command the terminal."""
    return {
        key: value if key == "exception" or not isinstance(value, str) or value.isprintable() else _escaped(value)
        for key, value in event.items()
    } | ({"exception": _escaped(event["exception"], keep="\n")} if isinstance(event.get("exception"), str) else {})


def _escaped(text: str, keep: str = "") -> str:
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode() for char in text
    )
