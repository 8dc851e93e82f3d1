"""Another deadline for work under way: one person asks and says why, another decides, and the old one stays on record.

A deadline is never paused and follows no field that somebody changes: this is the one way by which it moves, beside a
calendar or a workflow that is published anew.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, insert, select, text, update

from app.core.audit import AuditEntry
from app.core.errors import Conflict, FieldProblem, Forbidden, NotFound, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import Decision
from app.domain.access.scope import require_in_scope
from app.domain.lifecycles.events import RecordNoticeWanted
from app.domain.sla.clock_math import ClockStatus, Measure
from app.domain.sla.moved import rearm_moved
from app.domain.sla.policies import PROCESS_DEADLINE
from models.base import uuid7

REQUEST = "sla_rebaseline"
MAX_REASON = 2_000
FURTHEST = timedelta(days=3 * 366)

_LOCK_CLOCK = text("""
SELECT c.*, p.code AS policy, p.label AS policy_label FROM sla_clock c JOIN sla_policy p ON p.id = c.policy_id
WHERE c.id = :id FOR UPDATE OF c
""")
_MOVE = text("""
UPDATE sla_clock c SET
    due_at = :due_at, target = :due_at - c.started_at, generation = c.generation + 1,
    warn_at = c.warn_at + (:due_at - c.due_at), warned_at = NULL,
    breached_at = coalesce(c.breached_at, CASE WHEN c.due_at <= :now THEN c.due_at END,
                           CASE WHEN :due_at <= :now THEN greatest(:due_at, c.started_at) END),
    next_threshold = CASE WHEN c.warn_at + (:due_at - c.due_at) > :now THEN 'warning' ELSE 'breach' END,
    next_fire_at = CASE WHEN c.warn_at + (:due_at - c.due_at) > :now THEN c.warn_at + (:due_at - c.due_at)
                        ELSE :due_at END,
    formula = NULL, base_date = NULL,
    row_version = c.row_version + 1, updated_at = :now, updated_by = :by
WHERE c.id = :id
""")
_FOLLOW = text("UPDATE process_run SET due_at = :due_at WHERE id = :id")


async def request_rebaseline(uow: UnitOfWork, *, clock_id: UUID, due_at: datetime, reason: str) -> UUID:
    """Ask for another deadline of a running clock; return the request's id.

    Raises:
        Forbidden, NotFound: the clock is not for the actor.
        Conflict: it measures no deadline or does not run, or a request waits already.
        ValidationFailed: no reason, or a deadline that is the same, in the past or years away.
    """
    decision = await _require(uow, "request", clock_id)
    clock = await _clock(uow, clock_id)
    problems = [FieldProblem("reason", "Say why.")] if not 1 <= len(reason.strip()) <= MAX_REASON else []
    if due_at.tzinfo is None:
        problems.append(FieldProblem("due_at", "Give a time with its zone."))
    elif not uow.now < due_at <= uow.now + FURTHEST:
        problems.append(FieldProblem("due_at", "Give a time that lies ahead, at most three years."))
    elif due_at == clock.due_at:
        problems.append(FieldProblem("due_at", "It is due then already; give another time."))
    if problems:
        raise ValidationFailed(problems)
    requests = uow.table(REQUEST)
    if await uow.scalar(select(requests.c.id).where(requests.c.clock_id == clock_id, requests.c.state == "requested")):
        raise Conflict("Somebody has asked for a new deadline already; decide that first.")
    id_, by = uuid7(), uow.actor.id
    values = {
        "id": id_, "clock_id": clock_id, "state": "requested", "old_due_at": clock.due_at, "new_due_at": due_at,
        "reason": reason.strip(), "requested_by_id": None if uow.actor.is_system else by, "requested_at": uow.now,
        "row_version": 1, "created_at": uow.now, "created_by": by, "updated_at": uow.now, "updated_by": by,
    }  # fmt: skip
    await uow.execute(insert(requests).values(values))
    _audit(uow, "request", id_, decision, after={"clock": clock.label, "due_at": due_at}, reason=reason.strip())
    uow.emit(
        RecordNoticeWanted(
            at=uow.now, entity=clock.record_entity, record_id=clock.record_id,
            title=clock.label, roles=("operations",), user_ids=(),
            subject=f"New deadline asked for: {clock.label}",
            text=f"{uow.actor.name} asks for {due_at:%d %b %Y %H:%M} UTC instead of {clock.due_at:%d %b %Y %H:%M} UTC: "
            f"{reason.strip()}",
        )
    )  # fmt: skip
    uow.touch(f"sla_clock:{clock_id}", "entity:sla_rebaseline", f"{clock.record_entity}:{clock.record_id}")
    return id_


async def decide_rebaseline(uow: UnitOfWork, *, request_id: UUID, approve: bool, note: str = "") -> None:
    """Approve the new deadline, and move the clock, or decline it.

    Raises:
        Forbidden: it is one's own request, or not for the actor. NotFound.
        Conflict: it is decided already, or the clock has ended. ValidationFailed: declined without saying why.
    """
    request = await _request(uow, request_id)
    decision = await _require(uow, "decide", request.clock_id)
    clock = await _clock(uow, request.clock_id)
    own = request.requested_by_id is not None and request.requested_by_id in (uow.actor.id, uow.actor.on_behalf_of)
    if own and not uow.actor.is_system:
        raise Forbidden("You asked for this deadline. Rule: somebody else decides.")
    if not approve and not note.strip():
        raise ValidationFailed([FieldProblem("note", "Say why not.")])
    if approve:
        await _move(uow, clock, request.new_due_at)
    await _close(uow, request, "approved" if approve else "declined", note)
    verb = "approve" if approve else "decline"
    _audit(
        uow, verb, request_id, decision, before={"due_at": request.old_due_at},
        after={"due_at": request.new_due_at if approve else request.old_due_at}, reason=note.strip() or request.reason,
    )  # fmt: skip
    uow.touch("entity:sla_clock", f"{clock.record_entity}:{clock.record_id}")


async def withdraw_rebaseline(uow: UnitOfWork, *, request_id: UUID) -> None:
    """Take back one's own request. Raises Forbidden, NotFound, Conflict."""
    request = await _request(uow, request_id)
    decision = await _require(uow, "request", request.clock_id)
    if request.requested_by_id != uow.actor.id:
        raise Forbidden("Somebody else asked for this; it is theirs to withdraw.")
    await _close(uow, request, "withdrawn", "")
    _audit(uow, "withdraw", request_id, decision)


async def _move(uow: UnitOfWork, clock: Row[Any], due_at: datetime) -> None:
    await uow.execute(_MOVE, {"id": clock.id, "due_at": due_at, "now": uow.now, "by": uow.actor.id})
    await rearm_moved(uow)
    if clock.policy == PROCESS_DEADLINE:
        await uow.execute(_FOLLOW, {"id": clock.record_id, "due_at": due_at})


async def _close(uow: UnitOfWork, request: Row[Any], state: str, note: str) -> None:
    requests = uow.table(REQUEST)
    values = {
        "state": state, "note": note.strip() or None, "decided_at": uow.now,
        "decided_by_id": None if uow.actor.is_system else uow.actor.id,
        "row_version": request.row_version + 1, "updated_at": uow.now, "updated_by": uow.actor.id,
    }  # fmt: skip
    await uow.execute(update(requests).where(requests.c.id == request.id).values(values))
    uow.touch("entity:sla_rebaseline", f"sla_clock:{request.clock_id}")


async def _request(uow: UnitOfWork, request_id: UUID) -> Row[Any]:
    """The request, locked and still open."""
    requests = uow.table(REQUEST)
    row = (await uow.execute(select(requests).where(requests.c.id == request_id).with_for_update())).first()
    if row is None:
        raise NotFound("There is no such request for a new deadline, or you may not see it.")
    await require_in_scope(uow, "read", "sla_clock", row.clock_id)
    if row.state != "requested":
        raise Conflict(f"This request is {row.state} already.")
    return row


async def _clock(uow: UnitOfWork, clock_id: UUID) -> Row[Any]:
    """The clock, locked: one that runs towards a deadline."""
    clock = (await uow.execute(_LOCK_CLOCK, {"id": clock_id})).one()
    if clock.measure != Measure.DEADLINE:
        raise Conflict(f"“{clock.policy_label}” measures working time; only a deadline is moved to another time.")
    if clock.state != ClockStatus.RUNNING:
        raise Conflict(f"This clock is {clock.state}; only one that runs gets a new deadline.")
    return clock


async def _require(uow: UnitOfWork, action: str, clock_id: UUID) -> Decision:
    """The actor sees the clock, and may do this where it lies."""
    await require_in_scope(uow, "read", "sla_clock", clock_id)
    return await require_in_scope(uow, f"rebaseline:{action}", "sla_clock", clock_id)


def _audit(uow: UnitOfWork, command: str, id_: UUID, decision: Decision, **more: Any) -> None:
    uow.audit(
        AuditEntry(
            command=f"{REQUEST}.{command}", entity=REQUEST, record_id=id_,
            allowed_by=decision.allowed_by, grant_id=decision.grant_id, **more,
        )
    )  # fmt: skip
