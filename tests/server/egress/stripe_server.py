"""Answers as Stripe does, as far as its Python package can tell: customers, payment intents, errors, idempotency."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.server.egress.world import Received, Web, ok

__all__ = ["Stripe"]

KEY = "sk_test_51N0tAHandle+/="


@dataclass
class Stripe:
    """What it has, and how it answers.

    Attributes:
        fails: Statuses that it answers with instead, one after the other.
    """

    customers: list[dict[str, Any]] = field(default_factory=list)
    intents: dict[str, dict[str, Any]] = field(default_factory=dict)
    fails: list[int] = field(default_factory=list)

    def attach(self, web: Web) -> None:
        """Have a server answer like this."""
        web.answers["*"] = self._answer

    def _answer(self, got: Received) -> bytes:
        if self.fails:
            return _said(self.fails.pop(0), {"error": {"type": "api_error", "message": "try again"}})
        if got.headers.get("authorization") != f"Bearer {KEY}":
            shown = got.headers.get("authorization", "")
            error = {"type": "invalid_request_error", "message": f"Invalid API Key provided: {shown}"}
            return _said(401, {"error": error})
        parts = urlsplit(got.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        form = {name: values[-1] for name, values in parse_qs(got.body.decode()).items()}
        if (got.method, parts.path) == ("POST", "/v1/customers"):
            customer = {"id": f"cus_{len(self.customers) + 1}", "object": "customer", "email": form.get("email")}
            self.customers.insert(0, customer)
            return _said(200, customer)
        if (got.method, parts.path) == ("GET", "/v1/customers"):
            return _said(200, self._page(query))
        if got.method == "GET" and parts.path == "/v1/balance":
            # As some servers do: it repeats what it was sent.
            return _said(200, {"object": "balance", "livemode": False, "seen": got.headers["authorization"]})
        if (got.method, parts.path) == ("POST", "/v1/payment_intents"):
            return self._pay(form, got.headers.get("idempotency-key", ""))
        error = {"type": "invalid_request_error", "message": f"Unrecognized request URL ({got.method}: {parts.path})."}
        return _said(404, {"error": error})

    def _page(self, query: dict[str, str]) -> dict[str, Any]:
        ids = [customer["id"] for customer in self.customers]
        start = ids.index(query["starting_after"]) + 1 if "starting_after" in query else 0
        limit = int(query.get("limit", 10))
        page = self.customers[start : start + limit]
        has_more = start + limit < len(self.customers)
        return {"object": "list", "url": "/v1/customers", "has_more": has_more, "data": page}

    def _pay(self, form: dict[str, str], key: str) -> bytes:
        if form.get("payment_method") == "pm_card_chargeDeclined":
            error = {
                "type": "card_error", "code": "card_declined", "decline_code": "generic_decline",
                "message": "Your card was declined.", "charge": "ch_1", "param": "payment_method",
                "doc_url": "https://stripe.com/docs/error-codes/card-declined",
            }  # fmt: skip
            return _said(402, {"error": error})
        if key not in self.intents:
            self.intents[key] = {
                "id": f"pi_{len(self.intents) + 1}", "object": "payment_intent", "amount": int(form["amount"]),
                "currency": form["currency"], "status": "succeeded",
            }  # fmt: skip
        return _said(200, self.intents[key])


def _said(status: int, data: dict[str, Any]) -> bytes:
    names = {200: "OK", 401: "Unauthorized", 402: "Payment Required", 404: "Not Found", 500: "Internal Server Error"}
    return ok(
        json.dumps(data).encode(), "Content-Type: application/json", "Request-Id: req_1", "Stripe-Version: 2026-01-01",
        status=f"{status} {names[status]}",
    )  # fmt: skip
