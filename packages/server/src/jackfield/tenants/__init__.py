"""Tenants, their members, and the tokens that name the caller of each request.

A token is shown once and stored as its digest. Answers to repeatable writes are kept here too (`SqlAnswers`), because
an idempotency key belongs to a caller.
"""

from __future__ import annotations

from jackfield.tenants.answers import SqlAnswers
from jackfield.tenants.endpoints import router
from jackfield.tenants.errors import (
    LanguageInvalidError,
    MemberExistsError,
    MemberMissingError,
    PlanUnknownError,
    TenantExistsError,
    TenantIdInvalidError,
    TenantMissingError,
    TimezoneInvalidError,
    TokenExpiredError,
    TokenInvalidError,
    TokenMissingError,
    TokenSubjectError,
)
from jackfield.tenants.models import Member, Tenant, Token
from jackfield.tenants.service import CALLERS, IssuedToken, TenantService

__all__ = [
    "CALLERS",
    "IssuedToken",
    "LanguageInvalidError",
    "Member",
    "MemberExistsError",
    "MemberMissingError",
    "PlanUnknownError",
    "SqlAnswers",
    "Tenant",
    "TenantExistsError",
    "TenantIdInvalidError",
    "TenantMissingError",
    "TenantService",
    "TimezoneInvalidError",
    "Token",
    "TokenExpiredError",
    "TokenInvalidError",
    "TokenMissingError",
    "TokenSubjectError",
    "router",
]
