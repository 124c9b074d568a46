"""Row-level security: PostgreSQL itself keeps tenants apart, whatever a statement says.

Every table of tenants' rows has two policies. One shows the rows of the tenant that the transaction was begun for; the
other shows all to transactions that say they are work of the platform itself. A transaction that says neither sees
and writes nothing. Security is forced, so that it holds for the owner of a table too, and the platform serves as a role
that owns nothing (`docs/decisions/0017-row-security.md`).
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Table, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from jackfield.db.errors import DatabaseRoleError, RowSecurityMissingError, sqlstate
from jackfield.db.models import Base, TenantOwned
from jackfield.db.scopes import SCOPE_SETTING, TENANT_SETTING

__all__ = ["POLICIES", "faults", "grant", "release", "secure", "tenant_tables", "verify"]

# An empty text is what a setting is after a transaction that had set it; no tenant is called that.
_OF_TENANT = f"tenant_id = NULLIF(current_setting('{TENANT_SETTING}', true), '')"
_OF_PLATFORM = f"current_setting('{SCOPE_SETTING}', true) = 'platform'"
POLICIES: Final = {"jackfield_tenant": _OF_TENANT, "jackfield_platform": _OF_PLATFORM}
_RIGHTS: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")

_TABLES = text(
    """
    SELECT c.relname AS name, c.relrowsecurity AND c.relforcerowsecurity AS forced,
           pg_get_userbyid(c.relowner) AS owner,
           ARRAY(SELECT p.polname::text FROM pg_policy p WHERE p.polrelid = c.oid ORDER BY 1) AS policies,
           ARRAY(SELECT p.polname::text FROM pg_policy p
                 WHERE p.polrelid = c.oid AND p.polpermissive AND p.polcmd = '*' AND p.polroles = '{0}'
                 ORDER BY 1) AS usual
    FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
      AND c.relname LIKE 'jf\\_%'
    """
)
_ROLE = text("SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user")
_LACKING = text(
    """
    SELECT c.relname AS name, c.relkind = 'S' AS is_sequence
    FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace AND c.relname LIKE 'jf\\_%'
      AND CASE WHEN c.relkind = 'S' THEN NOT has_sequence_privilege(:role, c.oid, 'USAGE')
          WHEN c.relname = 'jf_schema_version' THEN NOT has_table_privilege(:role, c.oid, 'SELECT')
          ELSE c.relkind IN ('r', 'p') AND NOT (has_table_privilege(:role, c.oid, 'SELECT')
               AND has_table_privilege(:role, c.oid, 'INSERT') AND has_table_privilege(:role, c.oid, 'UPDATE')
               AND has_table_privilege(:role, c.oid, 'DELETE')) END
    """
)


def tenant_tables() -> list[Table[Any]]:
    """Every table of tenants' rows that the platform has. `migrate.load_models` comes first."""
    owned = {mapper.local_table for mapper in Base.registry.mappers if issubclass(mapper.class_, TenantOwned)}
    found: list[Table[Any]] = [table for table in owned if isinstance(table, Table)]
    return sorted(found, key=lambda table: table.name)


def secure(connection: Connection, role: str | None, logins: tuple[str, ...] = ()) -> list[str]:
    """Put right what is missing: policies, and the rights of the role that serves. Changes nothing when all is well.

    Args:
        connection: As the owner of the tables.
        role: Who serves; made when it is not there. None: whoever is in `logins`.
        logins: Users of the database's URL, who may become that role.

    Returns:
        Tables that were changed.

    Raises:
        DatabaseRoleError: The role is not there and cannot be made.
    """
    changed: list[str] = []
    seen = {row.name: row for row in connection.execute(_TABLES)}
    for table in tenant_tables():
        row = seen.get(table.name)
        if row is None or (row.forced and set(POLICIES) == set(row.policies) == set(row.usual)):
            continue
        _protect(connection, table.name, row.policies)
        changed.append(table.name)
    for user in [role] if role else logins:
        if role:
            _make_role(connection, role, logins)
        for name, is_sequence in connection.execute(_LACKING, {"role": user}).all():
            _grant(connection, name, user, is_sequence=is_sequence)
            changed.append(name)
    return changed


def release(connection: Connection) -> None:
    """Take all policies away again: what a downgrade does."""
    seen = {row.name: row for row in connection.execute(_TABLES)}
    for name, row in seen.items():
        for policy in set(POLICIES) & set(row.policies):
            connection.execute(text(f"DROP POLICY {policy} ON {_quoted(connection, name)}"))
        if row.forced:
            table = _quoted(connection, name)
            connection.execute(text(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY"))


def grant(connection: Connection, tables: list[Table[Any]], role: str) -> None:
    """Let the role that serves use tables of the host, those that are there and that it may not use yet.

    Args:
        connection: As the owner of the tables.
    """
    for table in tables:
        name = connection.dialect.identifier_preparer.format_table(table)
        lacks = text(
            "SELECT to_regclass(:name) IS NOT NULL AND NOT (has_table_privilege(:role, to_regclass(:name), 'SELECT') "
            "AND has_table_privilege(:role, to_regclass(:name), 'INSERT') "
            "AND has_table_privilege(:role, to_regclass(:name), 'UPDATE') "
            "AND has_table_privilege(:role, to_regclass(:name), 'DELETE'))"
        )
        if connection.scalar(lacks, {"name": name, "role": role}):
            connection.execute(text(f"GRANT {', '.join(_RIGHTS)} ON {name} TO {_quoted(connection, role)}"))
            for column in table.columns:
                of = {"table": name, "column": column.name}
                sequence = connection.scalar(text("SELECT pg_get_serial_sequence(:table, :column)"), of)
                if sequence is not None:  # quoted by the server
                    connection.execute(text(f"GRANT USAGE ON SEQUENCE {sequence} TO {_quoted(connection, role)}"))


async def faults(connection: AsyncConnection) -> list[str]:
    """What keeps the database from keeping tenants apart, for whoever is connected; empty when it does.

    Args:
        connection: As the role that serves.
    """
    found: list[str] = []
    is_super, bypasses = (await connection.execute(_ROLE)).one()
    if is_super or bypasses:
        found.append("the role that serves is a superuser or has BYPASSRLS, and policies do not hold for it")
    seen: dict[str, Any] = {row.name: row for row in await connection.execute(_TABLES)}
    me = await connection.scalar(text("SELECT current_user"))
    for table in tenant_tables():
        row = seen.get(table.name)
        if row is None:
            found.append(f"{table.name} is not there")
        elif not row.forced:
            found.append(f"{table.name} has no forced row-level security")
        elif set(row.policies) != set(POLICIES) or set(row.usual) != set(POLICIES):
            found.append(f"{table.name} has the policies {', '.join(row.policies) or 'none'}")
        elif row.owner == me:
            found.append(f"{table.name} belongs to the role that serves, which could take its policies away")
    return found


async def verify(connection: AsyncConnection) -> None:
    """Refuse a database that would not keep tenants apart.

    Raises:
        RowSecurityMissingError: It would not.
    """
    if found := await faults(connection):
        raise RowSecurityMissingError(found)


def _protect(connection: Connection, name: str, policies: list[str]) -> None:
    table = _quoted(connection, name)
    connection.execute(text(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"))
    for policy in policies:
        # Others would widen ours: policies are joined by OR.
        connection.execute(text(f"DROP POLICY {_quoted(connection, policy)} ON {table}"))
    for policy, condition in POLICIES.items():
        connection.execute(text(f"CREATE POLICY {policy} ON {table} USING ({condition}) WITH CHECK ({condition})"))


def _make_role(connection: Connection, role: str, logins: tuple[str, ...]) -> None:
    """Make the role when it is not there, and let those become it who connect."""
    name = _quoted(connection, role)
    is_there = text("SELECT 1 FROM pg_roles WHERE rolname = :role")
    if connection.scalar(is_there, {"role": role}) is None:
        try:
            with connection.begin_nested():
                connection.execute(text(f"CREATE ROLE {name} NOLOGIN NOSUPERUSER NOBYPASSRLS"))
        except DBAPIError as error:
            # Roles are the whole server's: another database's first start may have been quicker.
            if sqlstate(error) not in ("42710", "23505"):
                raise DatabaseRoleError(f"the role {role} is not there and could not be made: {error.orig}") from error
    for login in logins:
        member = text("SELECT pg_has_role(:login, :role, 'MEMBER')")
        if login != role and not connection.scalar(member, {"login": login, "role": role}):
            try:
                with connection.begin_nested():
                    connection.execute(text(f"GRANT {name} TO {_quoted(connection, login)}"))
            except DBAPIError as error:
                raise DatabaseRoleError(f"{login} may not become {role}: {error.orig}") from error
    schema = connection.scalar(text("SELECT current_schema()"))
    usage = text("SELECT has_schema_privilege(:role, :schema, 'USAGE')")
    if not connection.scalar(usage, {"role": role, "schema": schema}):
        connection.execute(text(f"GRANT USAGE ON SCHEMA {_quoted(connection, schema)} TO {name}"))


def _grant(connection: Connection, name: str, role: str, *, is_sequence: bool) -> None:
    object_, user = _quoted(connection, name), _quoted(connection, role)
    granted = ("SELECT",) if name == "jf_schema_version" else _RIGHTS  # nobody who serves changes the schema
    rights = f"USAGE ON SEQUENCE {object_}" if is_sequence else f"{', '.join(granted)} ON {object_}"
    connection.execute(text(f"GRANT {rights} TO {user}"))


def _quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote_identifier(name)
