"""What all endpoints share: the caller, problem documents, paging, a body's limit, keys that make writes repeatable.

Nothing here knows a table. What has to be looked up or kept goes through a Protocol (`Authenticator`, `Answers`) that a
higher folder fills.
"""

from __future__ import annotations

from jackfield.http.body_limit import BodyLimitMiddleware, read_body
from jackfield.http.caller import (
    ROLES,
    AdminCaller,
    Authenticator,
    Caller,
    MemberCaller,
    OperatorCaller,
    PublisherCaller,
    Role,
    require,
)
from jackfield.http.errors import (
    BodyTooLargeError,
    CredentialsMissingError,
    CursorInvalidError,
    IdempotencyAnswerGoneError,
    IdempotencyKeyBusyError,
    IdempotencyKeyInvalidError,
    IdempotencyKeyReusedError,
    IdempotencyOutcomeUnknownError,
    RoleMissingError,
    TooManyRequestsError,
    UnauthenticatedError,
)
from jackfield.http.figures import FiguresMiddleware, HttpFigures
from jackfield.http.idempotency import Answer, Answers, IdempotencyMiddleware, Reservation
from jackfield.http.language import AcceptLanguage, is_language_tag, preferred_language
from jackfield.http.origin import Origin, OriginMiddleware, origin
from jackfield.http.paging import Page, PageParams, PageRequest, Slice, cut, decode_cursor, encode_cursor
from jackfield.http.probes import Check, probes_router
from jackfield.http.problems import Problem, add_problem_handlers, problem_responses
from jackfield.http.trace_context import TraceMiddleware
from jackfield.http.translation import TranslationMiddleware

__all__ = [
    "ROLES",
    "AcceptLanguage",
    "AdminCaller",
    "Answer",
    "Answers",
    "Authenticator",
    "BodyLimitMiddleware",
    "BodyTooLargeError",
    "Caller",
    "Check",
    "CredentialsMissingError",
    "CursorInvalidError",
    "FiguresMiddleware",
    "HttpFigures",
    "IdempotencyAnswerGoneError",
    "IdempotencyKeyBusyError",
    "IdempotencyKeyInvalidError",
    "IdempotencyKeyReusedError",
    "IdempotencyMiddleware",
    "IdempotencyOutcomeUnknownError",
    "MemberCaller",
    "OperatorCaller",
    "Origin",
    "OriginMiddleware",
    "Page",
    "PageParams",
    "PageRequest",
    "Problem",
    "PublisherCaller",
    "Reservation",
    "Role",
    "RoleMissingError",
    "Slice",
    "TooManyRequestsError",
    "TraceMiddleware",
    "TranslationMiddleware",
    "UnauthenticatedError",
    "add_problem_handlers",
    "cut",
    "decode_cursor",
    "encode_cursor",
    "is_language_tag",
    "origin",
    "preferred_language",
    "probes_router",
    "problem_responses",
    "read_body",
    "require",
]
