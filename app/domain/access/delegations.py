"""Out of office: who stands in for whom, and how long. What it allows is decided by the work that it is about."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Boolean, DateTime, Uuid, bindparam, text

from app.core.audit import AuditEntry
from app.core.errors import Conflict, FieldProblem, Forbidden, NotFound, ValidationFailed
from app.core.events import Event, RecordUpdated
from app.core.uow import UnitOfWork
from app.domain.access.scope import require_in_scope

DELEGATION = "delegation"
TYPING = timedelta(minutes=15)  # between opening a form that says "from now" and sending it
LONGEST = timedelta(days=366)

READ = text(
    """
SELECT d.delegator_id, d.delegate_id, d.valid_from, d.valid_until, d.revoked_at, d.updated_at,
       u.active AND u.deleted_at IS NULL AND u.account_kind = 'person' AS can_stand_in, u.name AS delegate,
       EXISTS (SELECT FROM delegation o
               WHERE o.id <> d.id AND o.delegator_id = d.delegator_id AND o.delegate_id = d.delegate_id
                 AND o.application_id IS NOT DISTINCT FROM d.application_id
                 AND o.valid_from < d.valid_until AND least(o.valid_until, o.revoked_at) > d.valid_from) AS doubled
FROM delegation d JOIN app_user u ON u.id = d.delegate_id WHERE d.id = :id
FOR UPDATE OF d
"""
)
END = text(
    """
UPDATE delegation SET revoked_at = :now, row_version = row_version + 1, updated_at = :now, updated_by = :by
WHERE id = :id
"""
)
# A form gives whole minutes, and somebody has typed it: what says "now" means the moment at which it is written.
NOT_BEFORE_NOW = text(
    """
UPDATE delegation SET
    valid_from = CASE WHEN :created THEN greatest(valid_from, :now) ELSE valid_from END,
    valid_until = greatest(valid_until, :now)
WHERE id = :id AND (valid_until < :now OR (:created AND valid_from < :now))
"""
).bindparams(bindparam("now", type_=DateTime(timezone=True)), bindparam("created", type_=Boolean))
IN_FORCE = text(
    """
SELECT d.id, d.valid_from, d.valid_until, d.reason, d.delegator_id, r.name AS delegator, d.delegate_id,
       e.name AS delegate, a.label AS application
FROM delegation d
JOIN app_user r ON r.id = d.delegator_id
JOIN app_user e ON e.id = d.delegate_id
LEFT JOIN application a ON a.id = d.application_id
WHERE (d.delegator_id = :me OR d.delegate_id = :me) AND least(d.valid_until, d.revoked_at) > :now
ORDER BY d.valid_from, d.id
"""
).bindparams(bindparam("me", type_=Uuid), bindparam("now", type_=DateTime(timezone=True)))


@dataclass(frozen=True, slots=True)
class Delegation:
    """One that is in force or still to come. `application` None: the work of all of them."""

    id: UUID
    valid_from: datetime
    valid_until: datetime
    reason: str
    delegator_id: UUID
    delegator: str
    delegate_id: UUID
    delegate: str
    application: str | None


async def own_delegations(uow: UnitOfWork) -> list[Delegation]:
    """Those that the actor has given or received and that have not ended."""
    if uow.actor.id is None or uow.actor.is_system:
        return []
    rows = await uow.execute(IN_FORCE, {"me": uow.actor.id, "now": uow.now})
    return [Delegation(**row) for row in rows.mappings()]


async def revoke_delegation(uow: UnitOfWork, *, delegation_id: UUID) -> None:
    """End a delegation now; it stays readable who could act for whom, and when.

    Raises:
        NotFound, Forbidden: no such delegation, or neither one's own nor an administrator's task.
        Conflict: it has ended already.
    """
    decision = await require_in_scope(uow, "update", DELEGATION, delegation_id)
    row = (await uow.execute(READ, {"id": delegation_id})).first()
    if row is None:
        raise NotFound("There is no such delegation.")
    if row.revoked_at is not None or row.valid_until <= uow.now:
        raise Conflict("The delegation has ended already.")
    await uow.execute(END, {"id": delegation_id, "now": uow.now, "by": uow.actor.id})
    uow.touch(f"user:{row.delegate_id}", f"user:{row.delegator_id}", f"entity:{DELEGATION}")
    uow.audit(
        AuditEntry(
            command="delegation.revoke",
            entity=DELEGATION,
            record_id=delegation_id,
            after={"revoked_at": uow.now},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )


async def check_written_delegation(uow: UnitOfWork, event: Event) -> None:
    """Hold a delegation that came through a form, the API or an import to the rules, in its own transaction.

    The past is not rewritten: who stood in for somebody when work was submitted does not check that work, so a
    delegation neither begins nor ends before the present. Handler of RecordCreated and RecordUpdated.

    Raises:
        ValidationFailed: what was entered cannot be so.
        Forbidden: it would delegate what was delegated: the actor acts for somebody else.
    """
    if getattr(event, "entity", None) != DELEGATION:
        return
    row = (await uow.execute(READ, {"id": event.record_id})).one()  # type: ignore[attr-defined]
    if uow.actor.on_behalf_of is not None:
        raise Forbidden("Nobody passes on what was delegated to them: enter the delegation as yourself.")
    changed = isinstance(event, RecordUpdated)
    problems: list[FieldProblem] = []
    if row.revoked_at is not None and changed:
        problems.append(FieldProblem("valid_until", "The delegation was ended; enter a new one.", "ended"))
    if not row.can_stand_in:
        problems.append(FieldProblem("delegate", "Choose a person whose account is active.", "inactive"))
    if not changed and row.valid_from < uow.now - TYPING:
        problems.append(FieldProblem("valid_from", "A delegation cannot begin in the past.", "past"))
    if row.valid_until < uow.now - TYPING:
        problems.append(FieldProblem("valid_until", "A delegation cannot end in the past.", "past"))
    if row.valid_until - row.valid_from > LONGEST:
        message = "At most a year at a time; for longer, grant the roles themselves."
        problems.append(FieldProblem("valid_until", message, "too_long"))
    if row.doubled:
        message = f"{row.delegate} stands in at that time already; change that delegation instead."
        problems.append(FieldProblem("delegate", message, "duplicate"))
    if problems:
        raise ValidationFailed(problems)
    await uow.execute(NOT_BEFORE_NOW, {"id": event.record_id, "now": uow.now, "created": not changed})  # type: ignore[attr-defined]
    uow.touch(f"user:{row.delegate_id}", f"user:{row.delegator_id}")
