"""Role grants: reading those in force, giving and revoking them under the rules of segregation of duties."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.actor import Grant
from app.core.audit import AuditEntry
from app.core.errors import Conflict, FieldProblem, NotFound, ValidationFailed
from app.core.events import Event, RecordUpdated
from app.core.uow import UnitOfWork
from app.domain.access.decisions import Decision, authorize
from app.domain.access.duties import HeldGrant, breaches
from app.domain.access.policy import AccessPolicy
from app.domain.access.policy_files import PLATFORM
from models.base import uuid7

POLICY_TOPIC = "policy"
ADMIN = "admin"

IN_FORCE = text("""
SELECT g.id, r.code AS role, a.code AS application, g.node_id, n.path::text AS node_path, g.valid_until
FROM role_grant g
JOIN role r ON r.id = g.role_id
JOIN application a ON a.id = g.application_id AND a.active
LEFT JOIN hierarchy_node n ON n.id = g.node_id
WHERE g.user_id = :user_id AND g.revoked_at IS NULL AND g.valid_from <= :now
  AND (g.valid_until IS NULL OR g.valid_until > :now)
ORDER BY g.id
""")

# Every grant of a person that is or will be in force, with what overlap depends on.
HELD = text("""
SELECT g.id, r.code AS role, a.code AS application, g.valid_from, g.valid_until, g.node_id, n.hierarchy_id,
       n.path::text AS path, g.user_id
FROM role_grant g
JOIN role r ON r.id = g.role_id
JOIN application a ON a.id = g.application_id
LEFT JOIN hierarchy_node n ON n.id = g.node_id
WHERE g.user_id = :user_id AND g.revoked_at IS NULL AND (g.valid_until IS NULL OR g.valid_until > :now)
ORDER BY g.id
""")

OTHER_ADMINS = text("""
SELECT count(*)
FROM role_grant g
JOIN role r ON r.id = g.role_id AND r.code = :role
JOIN application a ON a.id = g.application_id AND a.code = :application
JOIN app_user u ON u.id = g.user_id AND u.active AND u.deleted_at IS NULL
WHERE g.id <> :grant_id AND g.revoked_at IS NULL AND g.valid_from <= :now AND g.valid_until IS NULL
""")


async def load_grants(source: AsyncConnection | UnitOfWork, user_id: UUID, now: datetime) -> tuple[Grant, ...]:
    """The grants of a user in force at `now`, in one statement."""
    rows = await source.execute(IN_FORCE, {"user_id": user_id, "now": now})
    return tuple(Grant(r.id, r.role, r.application, r.node_id, r.node_path, r.valid_until) for r in rows)


async def grant_role(
    uow: UnitOfWork,
    *,
    user_id: UUID,
    role: str,
    application: str,
    node_id: UUID | None = None,
    valid_until: datetime | None = None,
    reason: str,
) -> UUID:
    """Give a person a role in an application (codes), for all of it or below a node. Returns the grant's id.

    Raises:
        Forbidden: the actor may not grant roles.
        ValidationFailed: a person, role, application, node or date that there is not.
        Conflict: the person has the role already, or one that conflicts with it.
    """
    decision = authorize(uow, "create", "role_grant")
    role_id, application_id = await _check(
        uow,
        user_id=user_id,
        role=role,
        application=application,
        node_id=node_id,
        valid_until=valid_until,
        reason=reason,
    )
    # Two conflicting grants given at the same moment must not both pass: the second waits for the person's row.
    await uow.execute(text("SELECT 1 FROM app_user WHERE id = :id FOR UPDATE"), {"id": user_id})
    new = await _as_held(uow, role, application, node_id, valid_until)
    held = (await uow.execute(HELD, {"user_id": user_id, "now": uow.now})).all()
    if any((r.role, r.application, r.node_id) == (role, application, node_id) for r in held):
        raise Conflict(
            f"The person has the role {role} in {application} already; revoke that grant to change its dates."
        )
    _refuse_conflicts(uow, new, held)
    id_ = uuid7()
    values = {
        "user_id": user_id,
        "role_id": role_id,
        "application_id": application_id,
        "node_id": node_id,
        "valid_from": uow.now,
        "valid_until": valid_until,
        "reason": reason.strip(),
    }
    stamps = {"created_at": uow.now, "created_by": uow.actor.id, "updated_at": uow.now, "updated_by": uow.actor.id}
    await uow.execute(insert(uow.table("role_grant")).values(id=id_, **values, **stamps))
    after = {"user": user_id, "role": role, "application": application, "node": node_id, "valid_until": valid_until}
    uow.audit(_entry("access.grant_role", id_, decision, reason, after={**after, "valid_from": uow.now}))
    uow.touch(POLICY_TOPIC, f"user:{user_id}", "entity:role_grant")
    return id_


async def revoke_grant(uow: UnitOfWork, *, grant_id: UUID, reason: str) -> None:
    """End a grant now; it stays readable.

    Raises:
        Forbidden: the actor may not revoke roles.
        NotFound: there is no such grant.
        Conflict: it is revoked already, or the platform's last grant of an administrator without an end.
    """
    decision = authorize(uow, "update", "role_grant")
    if not reason.strip():
        raise ValidationFailed([FieldProblem("reason", "Say why the grant is revoked.", "required")])
    table = uow.table("role_grant")
    roles, applications = uow.table("role"), uow.table("application")
    found = select(
        table.c.user_id, table.c.revoked_at, roles.c.code.label("role"), applications.c.code.label("application")
    )
    found = found.join(roles, roles.c.id == table.c.role_id).join(
        applications, applications.c.id == table.c.application_id
    )
    row = (await uow.execute(found.where(table.c.id == grant_id).with_for_update(of=table))).first()
    if row is None:
        raise NotFound("There is no such grant.")
    if row.revoked_at is not None:
        raise Conflict("The grant is revoked already.")
    if (row.role, row.application) == (ADMIN, PLATFORM):
        await _refuse_last_admin(uow, grant_id)
    changes = {"revoked_at": uow.now, "updated_at": uow.now, "updated_by": uow.actor.id}
    await uow.execute(
        update(table).where(table.c.id == grant_id).values(row_version=table.c.row_version + 1, **changes)
    )
    entry = _entry("access.revoke_grant", grant_id, decision, reason, after={"revoked_at": uow.now})
    uow.audit(entry)
    uow.touch(POLICY_TOPIC, f"user:{row.user_id}", "entity:role_grant")


async def check_written_grant(uow: UnitOfWork, event: Event) -> None:
    """Hold a grant that came through a form, the API or an import to the same rules, in its own transaction.

    Handler of RecordCreated and RecordUpdated. Raises Conflict.
    """
    if getattr(event, "entity", None) != "role_grant":
        return
    record_id: UUID = event.record_id  # type: ignore[attr-defined]
    table = uow.table("role_grant")
    user_id = await uow.scalar(select(table.c.user_id).where(table.c.id == record_id))
    await uow.execute(text("SELECT 1 FROM app_user WHERE id = :id FOR UPDATE"), {"id": user_id})
    rows = (await uow.execute(HELD, {"user_id": user_id, "now": uow.now})).all()
    for row in rows:
        if row.id == record_id:
            _refuse_conflicts(uow, _held(uow, row), [other for other in rows if other.id != record_id])
            ends = isinstance(event, RecordUpdated) and row.valid_until is not None
            if ends and (row.role, row.application) == (ADMIN, PLATFORM):
                await _refuse_last_admin(uow, record_id)
    uow.touch(POLICY_TOPIC, f"user:{user_id}")


async def touch_policy(uow: UnitOfWork, event: Event) -> None:
    """Tell every process to load the policy again after a line of it changed. Handler of the record events."""
    if getattr(event, "entity", None) == "policy_line":
        uow.touch(POLICY_TOPIC)


async def _check(
    uow: UnitOfWork,
    *,
    user_id: UUID,
    role: str,
    application: str,
    node_id: UUID | None,
    valid_until: datetime | None,
    reason: str,
) -> tuple[UUID, UUID]:
    """Ids of the role and the application, when everything that was named exists."""
    users, nodes = uow.table("user"), uow.table("hierarchy_node")
    problems: list[FieldProblem] = []
    user = (
        await uow.execute(select(users.c.active).where(users.c.id == user_id, users.c.deleted_at.is_(None)))
    ).first()
    if user is None or not user.active:
        problems.append(FieldProblem("user", "There is no active person with this id.", "unknown"))
    ids: dict[str, UUID] = {}
    for name, code in (("role", role), ("application", application)):
        table = uow.table(name)
        rows = await uow.execute(select(table.c.code, table.c.id).order_by(table.c.code))
        known = {row.code: row.id for row in rows}
        if code in known:
            ids[name] = known[code]
        else:
            choices = ", ".join(known) or "none"
            problems.append(FieldProblem(name, f"There is no {name} {code!r}; there is: {choices}.", "unknown"))
    if node_id is not None and await uow.scalar(select(nodes.c.id).where(nodes.c.id == node_id)) is None:
        problems.append(FieldProblem("node", "There is no such hierarchy node.", "unknown"))
    if valid_until is not None and valid_until <= uow.now:
        problems.append(FieldProblem("valid_until", "Choose an end that is still to come.", "past"))
    if not reason.strip():
        problems.append(FieldProblem("reason", "Say why the role is granted.", "required"))
    if problems:
        raise ValidationFailed(problems)
    return ids["role"], ids["application"]


async def _as_held(
    uow: UnitOfWork, role: str, application: str, node_id: UUID | None, valid_until: datetime | None
) -> HeldGrant:
    hierarchy_id = path = None
    if node_id is not None:
        nodes = uow.table("hierarchy_node")
        row = (await uow.execute(select(nodes.c.hierarchy_id, nodes.c.path).where(nodes.c.id == node_id))).one()
        hierarchy_id, path = row.hierarchy_id, str(row.path)
    wide = _wide(uow, role, application)
    return HeldGrant(role, application, uow.now, valid_until, wide, hierarchy_id, path)


def _wide(uow: UnitOfWork, role: str, application: str) -> bool:
    policy: AccessPolicy = uow.resources.policy
    return application == PLATFORM and policy.reaches(role)


def _held(uow: UnitOfWork, row: Row[Any]) -> HeldGrant:
    wide = _wide(uow, row.role, row.application)
    return HeldGrant(
        row.role, row.application, row.valid_from, row.valid_until, wide, row.hierarchy_id, row.path, row.id
    )


def _refuse_conflicts(uow: UnitOfWork, new: HeldGrant, held: Sequence[Row[Any]]) -> None:
    policy: AccessPolicy = uow.resources.policy
    found = breaches(new, [_held(uow, row) for row in held], policy.conflicts)
    if not found:
        return
    labels = {role.code: role.label for role in policy.roles}
    first = found[0]
    mine, theirs = labels.get(new.role, new.role), labels.get(first.held.role, first.held.role)
    raise Conflict(
        f"The role {mine} in {new.application} conflicts with {theirs} in {first.held.application}, which the person "
        f"has for the same part of the bank: {first.conflict.reason}. Revoke that grant first, or limit both to "
        "different nodes.",
        context={"conflicts_with": str(first.held.id), "role": new.role, "held_role": first.held.role},
    )


async def _refuse_last_admin(uow: UnitOfWork, grant_id: UUID) -> None:
    values = {"role": ADMIN, "application": PLATFORM, "grant_id": grant_id, "now": uow.now}
    # Two administrators must not revoke each other at the same moment and leave nobody.
    await uow.execute(text("SELECT pg_advisory_xact_lock(hashtext('steps.last_admin'))"))
    if not await uow.scalar(OTHER_ADMINS, values):
        raise Conflict(
            "This is the last administrator of the platform; give the role to somebody else without an end first."
        )


def _entry(command: str, id_: UUID, decision: Decision, reason: str, *, after: dict[str, Any]) -> AuditEntry:
    return AuditEntry(
        command=command,
        entity="role_grant",
        record_id=id_,
        after=after,
        reason=reason.strip(),
        grant_id=decision.grant_id,
        allowed_by=decision.allowed_by,
    )
