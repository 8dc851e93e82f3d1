"""Escalations as pages show them: those under way, one with all that happened, and what a ladder would do."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, Select, Text, Uuid, bindparam, cast, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.core.errors import NotFound
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.access.scope import scope
from app.domain.escalation.climbing import calendars_of
from app.domain.escalation.ladders import EscalationState, Step, Target, Telling, course, read_plan

ENTITY, LADDER = "escalation", "escalation_ladder"
MOST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class EscalationLine:
    id: UUID
    ladder_id: UUID
    ladder: str
    cause: str
    record_entity: str
    record_id: UUID
    label: str
    state: EscalationState
    step: int
    told: int
    steps: int
    round: int
    next_at: datetime | None
    next_target: str
    started_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    ended_at: datetime | None
    end_reason: str | None
    due_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLine:
    """`people`: the names of who was told."""

    at: datetime
    kind: str
    round: int
    step: int | None
    text: str
    by: str | None
    people: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLine:
    """A step in words."""

    number: int
    wait_minutes: int
    target: str
    calendar: str | None
    repeat_times: int
    repeat_minutes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a ladder would do if something were late at `since`: each telling, with the step it tells."""

    steps: tuple[StepLine, ...]
    since: datetime
    tellings: tuple[Telling, ...]


async def list_escalations(
    uow: UnitOfWork, *, states: Iterable[EscalationState] = (), ladder: UUID | None = None, limit: int = MOST
) -> list[EscalationLine]:
    """The escalations in the actor's scope: what is told next first, then the latest. Raises: Forbidden."""
    authorize(uow, "read", ENTITY)
    table = uow.table(ENTITY)
    statement = _lines(uow).order_by(table.c.next_at.asc().nulls_last(), table.c.id.desc())
    wanted = [state.value for state in states]
    if wanted:
        statement = statement.where(table.c.state.in_(wanted))
    if ladder is not None:
        statement = statement.where(table.c.ladder_id == ladder)
    rows = (await uow.execute(scope(statement.limit(min(limit, MOST)), uow, "read", ENTITY))).mappings().all()
    return await _read(uow, rows)


async def escalations_of(uow: UnitOfWork, *, entity: str, record_id: UUID) -> list[EscalationLine]:
    """The open escalations about a record; whoever sees the record sees them."""
    table = uow.table(ENTITY)
    statement = _lines(uow).where(
        table.c.record_entity == entity, table.c.record_id == record_id, table.c.state != EscalationState.ENDED.value
    )
    rows = (await uow.execute(statement.order_by(table.c.id))).mappings().all()
    return await _read(uow, rows)


async def escalation_detail(uow: UnitOfWork, escalation_id: UUID) -> tuple[EscalationLine, list[EventLine], Preview]:
    """One escalation with what happened, the latest first. Raises: NotFound, also for one out of scope."""
    authorize(uow, "read", ENTITY)
    table = uow.table(ENTITY)
    statement = scope(_lines(uow).where(table.c.id == escalation_id), uow, "read", ENTITY)
    row = (await uow.execute(statement)).mappings().first()
    if row is None:
        raise NotFound("There is no such escalation, or you may not see it.")
    (line,) = await _read(uow, [row])
    events, users = uow.table("escalation_event"), uow.table("user")
    found = (
        await uow.execute(
            select(events, users.c.name.label("by_name"))
            .outerjoin(users, users.c.id == events.c.by_id)
            .where(events.c.escalation_id == escalation_id)
            .order_by(events.c.id.desc())
        )
    ).mappings()
    rows = list(found)
    names = await _names(uow, {UUID(id_) for each in rows for id_ in each["user_ids"] or ()})
    happened = [
        EventLine(
            at=each["at"],
            kind=each["kind"],
            round=each["round"],
            step=each["step"],
            text=each["text"] or "",
            by=each["by_name"],
            people=tuple(sorted(names.get(UUID(id_), "somebody") for id_ in each["user_ids"] or ())),
        )
        for each in rows
    ]
    return line, happened, await _preview(uow, row["plan"], line.started_at)


async def preview_ladder(uow: UnitOfWork, ladder_id: UUID, *, since: datetime) -> Preview:
    """What the ladder would do from a moment on if nobody acknowledged. Raises: Forbidden."""
    authorize(uow, "read", LADDER)
    steps = uow.table("escalation_step")
    rows = await uow.execute(select(steps).where(steps.c.parent_id == ladder_id).order_by(steps.c.position))
    return await _preview(uow, [_plain(row) for row in rows.mappings()], since)


def _plain(row: RowMapping) -> dict[str, Any]:
    return {
        "wait_minutes": row["wait_minutes"],
        "calendar": row["calendar_id"],
        "target": row["target"],
        "role": row["role_id"],
        "person": row["person_id"],
        "group": row["group_id"],
        "repeat_times": row["repeat_times"],
        "repeat_minutes": row["repeat_minutes"],
    }


async def _preview(uow: UnitOfWork, plain: Any, since: datetime) -> Preview:
    plan = read_plan(plain)
    words = await _targets(uow, plan)
    calendars = await calendars_of(uow, plan)
    labels = await _labels(uow, "calendar", {step.calendar for step in plan if step.calendar})
    lines = tuple(
        StepLine(
            number=number,
            wait_minutes=int(given["wait_minutes"]),
            target=words[number],
            calendar=labels.get(step.calendar) if step.calendar else None,
            repeat_times=step.repeat_times,
            repeat_minutes=int(given["repeat_minutes"]),
        )
        for number, (step, given) in enumerate(zip(plan, plain, strict=True))
    )
    return Preview(steps=lines, since=since, tellings=tuple(course(plan, since=since, calendars=calendars)))


def _lines(uow: UnitOfWork) -> Select[Any]:
    table, ladders, users = uow.table(ENTITY), uow.table(LADDER), uow.table("user")
    clocks = uow.table("sla_clock")
    return (
        select(
            table,
            ladders.c.label.label("ladder"),
            users.c.name.label("acknowledged_by"),
            clocks.c.due_at.label("due_at"),
        )
        .select_from(table)
        .join(ladders, ladders.c.id == table.c.ladder_id)
        .outerjoin(users, users.c.id == table.c.acknowledged_by_id)
        .outerjoin(clocks, clocks.c.id == table.c.clock_id)
    )


async def _read(uow: UnitOfWork, rows: Iterable[RowMapping]) -> list[EscalationLine]:
    rows = list(rows)
    plans = [read_plan(row["plan"]) for row in rows]
    words = iter(await _targets(uow, tuple(step for plan in plans for step in plan)))
    said = [[next(words) for _ in plan] for plan in plans]
    return [_line(row, targets) for row, targets in zip(rows, said, strict=True)]


def _line(row: RowMapping, targets: list[str]) -> EscalationLine:
    number = max(row["step"], 0)
    kept = ("id", "ladder_id", "ladder", "cause", "record_entity", "record_id", "label", "told", "round", "next_at")
    more = ("started_at", "acknowledged_at", "acknowledged_by", "ended_at", "end_reason", "due_at")
    return EscalationLine(
        **{name: row[name] for name in (*kept, *more)},
        state=EscalationState(row["state"]),
        step=number,
        steps=len(targets),
        next_target=targets[number] if number < len(targets) else "",
    )


_BY_KIND = {Target.OWNER: "the owner of the node", Target.MANAGER: "the manager of the assignee"}


async def _targets(uow: UnitOfWork, plan: tuple[Step, ...]) -> list[str]:
    """Whom each step tells, in words."""
    roles = await _labels(uow, "role", {step.role for step in plan if step.role})
    groups = await _labels(uow, "user_group", {step.group for step in plan if step.group})
    people = await _names(uow, {step.person for step in plan if step.person})
    said = []
    for step in plan:
        match step.target:
            case Target.ROLE:
                said.append(roles.get(step.role, "a role that is gone") if step.role else "")
            case Target.GROUP:
                said.append(groups.get(step.group, "a group that is gone") if step.group else "")
            case Target.PERSON:
                said.append(people.get(step.person, "somebody who is gone") if step.person else "")
            case _:
                said.append(_BY_KIND[step.target])
    return said


async def _labels(uow: UnitOfWork, entity: str, ids: set[UUID]) -> Mapping[UUID, str]:
    if not ids:
        return {}
    table = uow.table(entity)
    rows = await uow.execute(select(table.c.id, cast(table.c.label, Text).label("label")).where(table.c.id.in_(ids)))
    return {row.id: row.label for row in rows}


_NAMES = text("SELECT id, name FROM app_user WHERE id = ANY (:ids)").bindparams(bindparam("ids", type_=ARRAY(Uuid)))


async def _names(uow: UnitOfWork, ids: set[UUID]) -> Mapping[UUID, str]:
    if not ids:
        return {}
    return {row.id: row.name for row in await uow.execute(_NAMES, {"ids": list(ids)})}
