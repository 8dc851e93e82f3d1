"""The sweep of escalations: ends those whose matter is over, then tells the steps that are due, each once.

Any number of sweepers may run at once: each takes one escalation at a time, in a transaction of its own, and skips
what another one holds. The cost follows what is due, through the partial index on `next_at`. An escalation that cannot
be moved is set aside for a while and does not stand in the way of the others.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import Integer, Text, Uuid, bindparam, insert, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.actor import Actor, system_actor
from app.core.uow import UnitOfWork
from app.domain.calendars.store import calendar_of_id
from app.domain.escalation import ladders
from app.domain.escalation.ladders import Calendars, EscalationState, Position, Step
from app.domain.escalation.recipients import Fallback, Place, Reached, reach
from app.domain.lifecycles.events import RecordNoticeWanted
from models.base import uuid7
from models.types import UtcDateTime

log = logging.getLogger("steps.escalation")

SET_ASIDE = timedelta(minutes=5)
MOST_AT_ONCE = 500
ACTOR = "Escalation"


class Platform(Protocol):
    """What gives units of work; `app.bootstrap.Runtime` is one."""

    @property
    def engine(self) -> AsyncEngine: ...

    def uow(self, actor: Actor, *, now: datetime | None = None) -> UnitOfWork: ...


_MOMENT = "coalesce(:now, steps_now())"

# Over: the clock has stopped or begins anew, the job was sent off again, called off or done, the message has left.
_OVER = """
e.state <> 'ended' AND (
    (e.clock_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM sla_clock c WHERE c.id = e.clock_id AND c.state IN ('running', 'paused')
                                  AND c.generation = e.clock_generation))
    OR (e.cause = 'job_failed' AND NOT EXISTS (
        SELECT FROM job_run j WHERE j.id = e.record_id AND j.state = 'failed'))
    OR (e.record_entity = 'mail_message' AND NOT EXISTS (
        SELECT FROM mail_message m WHERE m.id = e.record_id AND m.state = 'failed')))
"""
_DUE = f"e.next_at IS NOT NULL AND e.next_at <= {_MOMENT}"
_ANYTHING = text(
    f"SELECT EXISTS (SELECT FROM escalation e WHERE {_DUE}) OR EXISTS (SELECT FROM escalation e WHERE {_OVER})"
).bindparams(bindparam("now", type_=UtcDateTime))

_END_OVER = text(
    f"""
WITH over AS (
    SELECT e.id FROM escalation e WHERE {_OVER} LIMIT :most FOR UPDATE OF e SKIP LOCKED
), done AS (
    UPDATE escalation e
    SET state = 'ended', next_at = NULL, ended_at = :now,
        end_reason = CASE e.cause WHEN 'threshold' THEN 'The work is done, or its deadline begins anew.'
                                  WHEN 'job_failed' THEN 'The job was sent off again, called off, or done.'
                                  ELSE 'The message has been delivered or withdrawn.' END,
        row_version = row_version + 1, updated_at = :now, updated_by = :by
    FROM over WHERE e.id = over.id
    RETURNING e.id, e.round, e.end_reason, e.record_entity, e.record_id
), noted AS (
    INSERT INTO escalation_event (id, row_version, created_at, created_by, updated_at, updated_by, escalation_id, at,
                                  kind, round, text)
    SELECT uuidv7(), 1, :now, :by, :now, :by, id, :now, 'ended', round, end_reason FROM done
)
SELECT record_entity, record_id FROM done
"""
).bindparams(bindparam("now", type_=UtcDateTime), bindparam("by", type_=Uuid), bindparam("most", type_=Integer))

_TAKE = text(
    f"""
SELECT e.*, l.label AS ladder_label, l.fallback_role_id, l.fallback_user_id
FROM escalation e JOIN escalation_ladder l ON l.id = e.ladder_id
WHERE {_DUE} AND e.state <> 'ended'
ORDER BY e.next_at LIMIT 1 FOR UPDATE OF e SKIP LOCKED
"""
).bindparams(bindparam("now", type_=UtcDateTime))

_MOVE = text(
    """
UPDATE escalation
SET state = :state, step = :step, told = :told, round = :round, next_at = :next_at,
    row_version = row_version + 1, updated_at = :now, updated_by = :by
WHERE id = :id
"""
).bindparams(
    bindparam("id", type_=Uuid),
    bindparam("by", type_=Uuid),
    bindparam("now", type_=UtcDateTime),
    bindparam("next_at", type_=UtcDateTime),
    bindparam("state", type_=Text),
)

_PUT_ASIDE = text("UPDATE escalation SET next_at = :until WHERE id = :id AND next_at = :seen").bindparams(
    bindparam("id", type_=Uuid), bindparam("until", type_=UtcDateTime), bindparam("seen", type_=UtcDateTime)
)


async def climb(platform: Platform, *, now: datetime | None = None) -> int:
    """End what is over and move what is due; return how many. `now` is given by simulations only."""
    async with platform.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        if not await connection.scalar(_ANYTHING, {"now": now}):
            return 0
    actor = system_actor(ACTOR)
    async with platform.uow(actor, now=now) as uow:
        moved = await _end_over(uow)
    for _ in range(MOST_AT_ONCE):
        taken: Mapping[str, Any] | None = None
        try:
            async with platform.uow(actor, now=now) as uow:
                row = (await uow.execute(_TAKE, {"now": now})).mappings().one_or_none()
                if row is None:
                    return moved
                taken = dict(row)
                await _move(uow, taken)
        except Exception as error:
            if taken is None:
                raise  # the database itself
            log.error("escalation %s cannot be moved and is set aside: %s", taken["id"], type(error).__name__)
            async with platform.uow(actor, now=now) as uow:
                values = {"id": taken["id"], "until": uow.now + SET_ASIDE, "seen": taken["next_at"]}
                await uow.execute(_PUT_ASIDE, values)
        moved += 1
    return moved


async def _end_over(uow: UnitOfWork) -> int:
    rows = (await uow.execute(_END_OVER, {"now": uow.now, "by": uow.actor.id, "most": MOST_AT_ONCE})).all()
    if rows:
        uow.touch("entity:escalation", *(f"{row.record_entity}:{row.record_id}" for row in rows))
    return len(rows)


async def _move(uow: UnitOfWork, row: Mapping[str, Any]) -> None:
    """Take the escalation one move further: begin it, go on after an acknowledgement, or tell a step."""
    plan, position = ladders.read_plan(row["plan"]), position_of(row)
    calendars = await calendars_of(uow, plan)
    moment = max(uow.now, position.next_at or uow.now)  # a worker's clock may lag behind the database's
    if position.step == ladders.NOT_BEGUN:
        position = ladders.begin(plan, position, calendars)
    elif position.state is EscalationState.ACKNOWLEDGED:
        position = ladders.rearmed(plan, position, now=moment, calendars=calendars)
        await note(uow, row["id"], kind="rearmed", round_=position.round, said="Not over yet: it goes on.")
    if position.next_at is not None and position.next_at <= moment:
        position = await _tell(uow, row, position, calendars=calendars, moment=moment)
    await move_to(uow, row["id"], position)
    uow.touch("entity:escalation", f"{row['record_entity']}:{row['record_id']}")


async def _tell(
    uow: UnitOfWork, row: Mapping[str, Any], position: Position, *, calendars: Calendars, moment: datetime
) -> Position:
    plan = ladders.read_plan(row["plan"])
    step = plan[position.step]
    if not ladders.within_hours(step, moment, calendars):  # after an outage: its hours are over
        return replace(position, next_at=ladders.after(step, timedelta(0), moment, calendars))
    place = Place(node=row["node_id"], application=row["application_id"], assignee=await _assignee(uow, row))
    fallback = Fallback(role=row["fallback_role_id"], person=row["fallback_user_id"])
    reached = await reach(uow, step, place=place, fallback=fallback)
    words = step_words(row, plan, position)
    await note(
        uow,
        row["id"],
        kind=_kind(reached),
        round_=position.round,
        step=position.step,
        told=position.told,
        users=reached.user_ids,
        said=words,
    )
    if not reached.user_ids:
        return ladders.reached_nobody(plan, position, now=moment, calendars=calendars)
    uow.emit(
        RecordNoticeWanted(
            at=uow.now,
            entity=row["record_entity"],
            record_id=row["record_id"],
            title=row["label"],
            roles=(),
            user_ids=reached.user_ids,
            subject=f"Escalation: {row['label']}"[:280],
            text=words + " Acknowledge it under Escalations when you take care of it.",
        )
    )
    return ladders.told(plan, position, now=moment, calendars=calendars)


def _kind(reached: Reached) -> str:
    if not reached.user_ids:
        return "nobody"
    return "fallback" if reached.fallback else "told"


def step_words(row: Mapping[str, Any], plan: tuple[Step, ...], position: Position) -> str:
    """Say which step of which ladder it is."""
    again = f", told again ({position.told} of {plan[position.step].repeat_times})" if position.told else ""
    round_ = f" in round {position.round}" if position.round > 1 else ""
    return f"{row['ladder_label']}: step {position.step + 1} of {len(plan)}{again}{round_}."


def position_of(row: Mapping[str, Any]) -> Position:
    """Read where a row of `escalation` stands."""
    return Position(
        state=EscalationState(row["state"]),
        step=row["step"],
        told=row["told"],
        round=row["round"],
        next_at=row["next_at"],
    )


async def move_to(uow: UnitOfWork, escalation_id: UUID, position: Position) -> None:
    """Write where the escalation stands."""
    await uow.execute(
        _MOVE,
        {
            "id": escalation_id,
            "state": position.state.value,
            "step": position.step,
            "told": position.told,
            "round": position.round,
            "next_at": position.next_at,
            "now": uow.now,
            "by": uow.actor.id,
        },
    )


async def note(
    uow: UnitOfWork,
    escalation_id: UUID,
    *,
    kind: str,
    round_: int,
    said: str,
    step: int | None = None,
    told: int | None = None,
    users: tuple[UUID, ...] = (),
    by: UUID | None = None,
) -> None:
    """Record what happened to an escalation."""
    await uow.execute(
        insert(uow.table("escalation_event")).values(
            id=uuid7(),
            row_version=1,
            created_at=uow.now,
            created_by=uow.actor.id,
            updated_at=uow.now,
            updated_by=uow.actor.id,
            escalation_id=escalation_id,
            at=uow.now,
            kind=kind,
            round=round_,
            step=step,
            told=told,
            user_ids=[str(id_) for id_ in users],
            by_id=by,
            text=said,
        )
    )


async def calendars_of(uow: UnitOfWork, plan: tuple[Step, ...]) -> Calendars:
    """Load the calendars of the steps, as they are in force."""
    wanted = {step.calendar for step in plan if step.calendar is not None}
    return {id_: await calendar_of_id(uow, id_) for id_ in sorted(wanted)}


async def _assignee(uow: UnitOfWork, row: Mapping[str, Any]) -> UUID | None:
    """Whose work it is: the record's assignee, else its owner, else who made it."""
    entity, table = uow.registry.entity(row["record_entity"]), uow.table(row["record_entity"])
    names = [name for name in ("assignee", "owner") if entity.has_field(name) and entity.field(name).target == "user"]
    columns = [table.c[entity.field(name).column] for name in names]
    columns += [table.c.created_by] if "created_by" in table.c else []
    found = (await uow.execute(select(*columns).where(table.c.id == row["record_id"]))).one_or_none()
    return next((id_ for id_ in found or () if id_ is not None), None)
