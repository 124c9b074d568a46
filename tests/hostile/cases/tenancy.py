"""What belongs to another tenant, asked for in one call. Attacks that take several calls are in test_tenancy.py."""

from __future__ import annotations

from tests.hostile.case import OK, Case, Class, End
from tests.hostile.cases.plugins import TENANT

__all__ = ["TENANCY"]

_DENIED = End("error", "permission-denied")

TENANCY = Class("tenancy", TENANT, [
    Case("a neighbour's key", "return ctx.storage.get('note')", OK, accepts=lambda value: value is None),
    Case("all keys that there are", "return ctx.storage.keys('', limit=1000)", OK, accepts=lambda value: value == []),
    Case("keys by a pattern", "return ctx.storage.keys('%') + ctx.storage.keys('_')", OK,
         accepts=lambda value: value == []),
    Case("a key that is SQL", "return ctx.storage.get(\"x' OR '1'='1\")", OK, accepts=lambda value: value is None),
    Case("a key with a path", "return ctx.storage.get(f\"../{about['neighbour']}/note\")", OK,
         accepts=lambda value: value is None),
    Case("keys behind the last one", "return ctx.storage.keys('', after='\\U0010ffff')", OK,
         accepts=lambda value: value == []),
    Case("a neighbour's rows", "return ctx.tables['notes'].find()", OK, accepts=lambda value: value == []),
    Case("a neighbour's row by its id", "return ctx.tables['notes'].get(about['row'])", OK,
         accepts=lambda value: value is None),
    Case("change a neighbour's row", "return ctx.tables['notes'].update(about['row'], text='gone')",
         End("error", "row-not-found")),
    Case("remove a neighbour's row", "return ctx.tables['notes'].delete(about['row'])", OK,
         accepts=lambda value: value is False),
    Case("rows by a column of the platform's", """
        return ctx.tables['notes'].find({'tenant_id': about['neighbour']})
    """, End("error", "arguments-invalid"), End("error", "row-invalid"), End("error", "column-unknown")),
    Case("an order that is SQL", "return ctx.tables['notes'].find(order='text) UNION SELECT token FROM secrets --')",
         End("error", "arguments-invalid"), End("error", "row-invalid"), End("error", "column-unknown")),
    Case("an operator that is SQL", "return ctx.tables['notes'].find([('text', 'eq 1 OR 1=1 --', 'x')])",
         End("error", "arguments-invalid"), End("error", "row-invalid")),
    Case("a table that is not one's own", "return ctx.tables['installations'].find()",
         End("error", "table-not-declared")),
    Case("a table of another plugin", "return ctx.tables['neighbour.notes'].find()", End("error", "table-not-declared"),
         End("error", "arguments-invalid")),
    Case("a neighbour's secret", "return host_call(ctx, 'secrets', 'reveal', name='api_key')", _DENIED,
         End("error", "secret-not-set"), End("error", "secret-not-declared")),
    Case("a secret with a path", "return host_call(ctx, 'secrets', 'reveal', name='../neighbour/api_key')",
         End("error", "arguments-invalid")),
    Case("the host's customers", "return ctx.data['customers'].list()", _DENIED),
    Case("the host's own tables", "return ctx.data['jackfield_secrets'].list()", _DENIED,
         End("error", "unknown-entity")),
    Case("rights written into the context", """
        caller = wire.Caller('root', 'operator')
        ctx._call = msgspec.structs.replace(ctx._call, tenant_id=about['neighbour'], caller=caller)
        ctx.tenant = type(ctx.tenant)(about['neighbour'])
        return ctx.storage.get('note')
    """, OK, accepts=lambda value: value is None),
    Case("an event in the host's name", "return ctx.events.emit('sale.created', {'total': 1})",
         End("error", "event-not-declared"), End("error", "arguments-invalid"), _DENIED),
    Case("an event in a neighbour's name", "return ctx.events.emit('neighbour.done', {})",
         End("error", "event-not-declared"), _DENIED),
    Case("a function of a plugin that it does not depend on",
         "return host_call(ctx, 'functions', 'call', plugin='neighbour', name='read', arguments={})", _DENIED,
         End("error", "dependency-not-declared")),
    Case("what a plugin offers that it does not depend on",
         "return host_call(ctx, 'functions', 'offers', plugin='neighbour')", End("error", "dependency-not-declared")),
    Case("a notification to everybody",
         "return host_call(ctx, 'notify', 'send', to=['all'], title='x')", _DENIED),
    Case("everybody's address", "return host_call(ctx, 'members', 'list')", _DENIED),
    Case("the acting member's address", "return host_call(ctx, 'members', 'my_address')", _DENIED),
    Case("a permission that was not granted", "return host_call(ctx, 'data', 'entities')", OK, _DENIED,
         accepts=lambda value: value == []),
    Case("another installation's configuration", "return host_call(ctx, 'config', 'get', slug='neighbour')",
         End("error", "arguments-invalid"), End("error", "unknown-operation")),
])  # fmt: skip
