"""What people do with an escalation: take care of it, or end it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Text, Uuid, bindparam, select, text

from app.core.audit import AuditEntry
from app.core.errors import FieldProblem, TransitionRefused, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import Decision, authorize, refusal
from app.domain.access.scope import condition_of, require_in_scope, viewer_of
from app.domain.escalation import ladders
from app.domain.escalation.climbing import move_to, note, position_of
from app.domain.escalation.ladders import EscalationState
from models.types import UtcDateTime

ENTITY = "escalation"
NOTE_LENGTH = 2_000

_REARM = text("SELECT rearm_minutes FROM escalation_ladder WHERE id = :id").bindparams(bindparam("id", type_=Uuid))
_ACKNOWLEDGED = text(
    "UPDATE escalation SET acknowledged_at = :now, acknowledged_by_id = (SELECT id FROM app_user WHERE id = :by) "
    "WHERE id = :id"
).bindparams(bindparam("id", type_=Uuid), bindparam("by", type_=Uuid), bindparam("now", type_=UtcDateTime))
_ENDED = text("UPDATE escalation SET ended_at = :now, end_reason = left(:reason, 300) WHERE id = :id").bindparams(
    bindparam("id", type_=Uuid), bindparam("now", type_=UtcDateTime), bindparam("reason", type_=Text)
)


async def acknowledge(uow: UnitOfWork, escalation_id: UUID, *, said: str) -> None:
    """Take care of the matter: nobody else is told, until the ladder goes on because it is still not over.

    Raises:
        Forbidden, NotFound: as for any record.
        ValidationFailed: nothing is said of what is done about it.
        TransitionRefused: it has ended, or somebody takes care of it already.
    """
    decision, said = authorize(uow, "acknowledge", ENTITY), _said(said, "note")
    row = await _locked(uow, escalation_id, decision)
    position = position_of(row)
    if position.state is not EscalationState.RUNNING:
        ended = position.state is EscalationState.ENDED
        raise TransitionRefused(
            "The escalation has ended." if ended else "Somebody takes care of it already.",
            guard="state",
            satisfy="There is nothing left to do." if ended else "Ask them, or wait until it goes on.",
        )
    minutes = await uow.scalar(_REARM, {"id": row["ladder_id"]})
    rearm = None if minutes is None else timedelta(minutes=minutes)
    await move_to(uow, escalation_id, ladders.acknowledged(position, now=uow.now, rearm=rearm))
    await uow.execute(_ACKNOWLEDGED, {"id": escalation_id, "now": uow.now, "by": uow.actor.id})
    await note(uow, escalation_id, kind="acknowledged", round_=position.round, said=said, by=await _person(uow))
    _record(uow, "acknowledge", row, decision, after=EscalationState.ACKNOWLEDGED, reason=said)


async def end(uow: UnitOfWork, escalation_id: UUID, *, reason: str) -> None:
    """End an escalation that nothing else would end, such as one about a message or a job that nobody repeats.

    Raises:
        Forbidden, NotFound: as for any record.
        ValidationFailed: there is no reason.
        TransitionRefused: it has ended.
    """
    decision, reason = authorize(uow, "acknowledge", ENTITY), _said(reason, "reason")
    row = await _locked(uow, escalation_id, decision)
    position = position_of(row)
    if position.state is EscalationState.ENDED:
        raise TransitionRefused(
            "The escalation has ended already.", guard="state", satisfy="There is nothing left to do."
        )
    await move_to(uow, escalation_id, ladders.ended(position))
    await uow.execute(_ENDED, {"id": escalation_id, "now": uow.now, "reason": reason})
    await note(uow, escalation_id, kind="ended", round_=position.round, said=reason, by=await _person(uow))
    _record(uow, "end", row, decision, after=EscalationState.ENDED, reason=reason)


def _said(given: str, field: str) -> str:
    said = given.strip()
    if not said or len(said) > NOTE_LENGTH:
        message = f"Say what is done about it, in at most {NOTE_LENGTH} characters."
        raise ValidationFailed([FieldProblem(field, message, "required")])
    return said


async def _person(uow: UnitOfWork) -> UUID | None:
    users = uow.table("user")
    found: UUID | None = await uow.scalar(select(users.c.id).where(users.c.id == uow.actor.id))
    return found


async def _locked(uow: UnitOfWork, escalation_id: UUID, decision: Decision) -> Mapping[str, Any]:
    """Lock the escalation, if the grants that allow the action cover it."""
    table = uow.table(ENTITY)
    statement = select(table).where(table.c.id == escalation_id)
    covered = condition_of(viewer_of(uow), "acknowledge", uow.registry.entity(ENTITY), decision, table)
    if covered is not None:
        statement = statement.where(covered)
    row = (await uow.execute(statement.with_for_update(of=table, key_share=True))).mappings().one_or_none()
    if row is None:
        await require_in_scope(uow, "read", ENTITY, escalation_id)
        raise refusal(uow.resources.policy, uow.registry, uow.actor, "acknowledge", ENTITY, on_record=True)
    return dict(row)


def _record(
    uow: UnitOfWork, command: str, row: Mapping[str, Any], decision: Decision, *, after: str, reason: str
) -> None:
    uow.touch("entity:escalation", f"{row['record_entity']}:{row['record_id']}")
    uow.audit(
        AuditEntry(
            command=command,
            entity=ENTITY,
            record_id=row["id"],
            before={"state": row["state"]},
            after={"state": str(after)},
            reason=reason,
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
