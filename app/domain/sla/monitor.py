"""The SLA monitor: clocks by state and time left, breaches by day, and what the filters can choose.

Whether a clock is late or at risk is worked out from its instants on each read, so it is never stale. A clock is at
risk from its warning on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Row, Select, and_, case, func, literal, or_, select

from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.access.scope import scope
from app.domain.sla.clock_math import ClockStatus, Measure
from models.sla import BREACH

TREND_DAYS = 30
PAGE = 50


class Standing(StrEnum):
    """How an open clock stands at this moment."""

    LATE = "late"
    RISK = "risk"
    ON_TIME = "on_time"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Chosen:
    """The filters of the monitor. `owner` is a role; `stage` the label of a stage; `entity` a kind of record."""

    standing: Standing | None = None
    policy: str | None = None
    application: str | None = None
    stage: str | None = None
    owner: str | None = None
    entity: str | None = None


@dataclass(frozen=True, slots=True)
class OpenClock:
    """An open clock with what it is about."""

    id: UUID
    policy: str
    policy_id: UUID
    record_entity: str
    record_id: UUID
    label: str
    measure: Measure
    state: ClockStatus
    standing: Standing
    started_at: datetime
    due_at: datetime
    warn_at: datetime | None
    breached_at: datetime | None
    target: timedelta | None
    consumed: timedelta | None
    owner: str | None
    assignee: str | None
    stage: str | None
    application: str | None


@dataclass(frozen=True, slots=True)
class DayOfBreaches:
    """Breaches of a day, and how many clocks ended in time or late on it."""

    day: date
    breaches: int
    met: int
    missed: int


async def counts(uow: UnitOfWork, chosen: Chosen) -> dict[Standing, int]:
    """How many open clocks stand how; the filter on the standing itself is left aside."""
    authorize(uow, "read", "sla_clock")
    standing = _standing(uow)
    statement = _filtered(uow, select(standing.label("standing"), func.count().label("many")), chosen)
    rows = await uow.execute(statement.group_by(standing))
    found = {Standing(row.standing): row.many for row in rows}
    return {each: found.get(each, 0) for each in Standing}


async def open_clocks(
    uow: UnitOfWork, chosen: Chosen, *, limit: int = PAGE, after: tuple[datetime, UUID] | None = None
) -> list[OpenClock]:
    """Open clocks, soonest due first; `after` is the last of the page before."""
    authorize(uow, "read", "sla_clock")
    clocks, policies = uow.table("sla_clock"), uow.table("sla_policy")
    users, processes = uow.table("user"), uow.table("process_run")
    roles, applications = uow.table("role"), uow.table("application")
    standing = _standing(uow)
    columns = (
        clocks,
        standing.label("standing"),
        policies.c.label.label("policy"),
        func.coalesce(roles.c.label, processes.c.owner_role).label("owner"),
        users.c.name.label("assignee"),
        _stage(uow).label("stage"),
        applications.c.label.label("application"),
    )
    statement = _filtered(uow, select(*columns), chosen)
    if chosen.standing is not None:
        statement = statement.where(standing == chosen.standing.value)
    if after is not None:
        at, id_ = after
        statement = statement.where(or_(clocks.c.due_at > at, and_(clocks.c.due_at == at, clocks.c.id > id_)))
    rows = await uow.execute(statement.order_by(clocks.c.due_at, clocks.c.id).limit(limit))
    return [_open_clock(row) for row in rows]


async def breaches_by_day(uow: UnitOfWork, chosen: Chosen, *, zone: str, days: int = TREND_DAYS) -> list[DayOfBreaches]:
    """The last days, the present one last, as days of `zone`: how much was breached, and how much ended in time."""
    authorize(uow, "read", "sla_clock")
    today = uow.now.astimezone(ZoneInfo(zone)).date()
    first = today - timedelta(days=days - 1)
    since = datetime.combine(first, time(0), ZoneInfo(zone))
    clocks, events = uow.table("sla_clock"), uow.table("sla_event")
    ended = func.date(func.timezone(zone, clocks.c.stopped_at))
    in_time: Select[Any] = select(
        ended.label("day"),
        func.count().filter(clocks.c.breached_at.is_(None)).label("met"),
        func.count().filter(clocks.c.breached_at.is_not(None)).label("missed"),
    )
    in_time = _filtered(uow, in_time, chosen, opened=False)
    in_time = in_time.where(clocks.c.state == ClockStatus.STOPPED.value, clocks.c.stopped_at >= since).group_by(ended)
    ends = {row.day: row for row in await uow.execute(in_time)}
    broken = func.date(func.timezone(zone, events.c.at))
    breached: Select[Any] = select(broken.label("day"), func.count().label("many"))
    breached = _filtered(uow, breached, chosen, opened=False).join(events, events.c.clock_id == clocks.c.id)
    breached = breached.where(events.c.threshold == BREACH, events.c.at >= since).group_by(broken)
    breaches = {row.day: row.many for row in await uow.execute(breached)}
    result = []
    for number in range(days):
        day = first + timedelta(days=number)
        row = ends.get(day)
        result.append(DayOfBreaches(day, breaches.get(day, 0), row.met if row else 0, row.missed if row else 0))
    return result


async def choices(uow: UnitOfWork) -> Mapping[str, list[tuple[str, str, int]]]:
    """What the filters can choose among the open clocks that the actor sees: (value, label, how many) by filter."""
    authorize(uow, "read", "sla_clock")
    policies, applications = uow.table("sla_policy"), uow.table("application")
    processes, roles, clocks = uow.table("process_run"), uow.table("role"), uow.table("sla_clock")
    ways: dict[str, tuple[ColumnElement[Any], ColumnElement[Any]]] = {
        "policy": (policies.c.code, policies.c.label),
        "application": (applications.c.code, applications.c.label),
        "owner": (processes.c.owner_role, func.coalesce(roles.c.label, processes.c.owner_role)),
        "stage": (_stage(uow), _stage(uow)),
        "entity": (clocks.c.record_entity, clocks.c.record_entity),
    }
    found: dict[str, list[tuple[str, str, int]]] = {}
    for name, (value, label) in ways.items():
        wanted = select(value.label("value"), func.max(label).label("label"), func.count().label("many"))
        statement = _filtered(uow, wanted, Chosen()).where(value.is_not(None))
        rows = await uow.execute(statement.group_by(value).order_by(value))
        found[name] = [(row.value, row.label, row.many) for row in rows]
    return found


def _standing(uow: UnitOfWork) -> ColumnElement[Any]:
    clocks = uow.table("sla_clock")
    now = literal(uow.now)
    return case(
        (or_(clocks.c.due_at <= now, clocks.c.breached_at.is_not(None)), Standing.LATE.value),
        (clocks.c.state == ClockStatus.PAUSED.value, Standing.PAUSED.value),
        (clocks.c.warn_at <= now, Standing.RISK.value),
        else_=Standing.ON_TIME.value,
    )


def _stage(uow: UnitOfWork) -> ColumnElement[Any]:
    """The label of the stage of a process, for clocks of processes."""
    stages, processes = uow.table("stage_run"), uow.table("process_run")
    return select(stages.c.label).where(stages.c.id == processes.c.stage_run_id).scalar_subquery()


def _filtered(uow: UnitOfWork, statement: Select[Any], chosen: Chosen, *, opened: bool = True) -> Select[Any]:
    """Clocks with what they are about, as far as the actor may see them."""
    clocks, policies = uow.table("sla_clock"), uow.table("sla_policy")
    processes, users = uow.table("process_run"), uow.table("user")
    roles, applications = uow.table("role"), uow.table("application")
    statement = (
        statement.select_from(clocks)
        .join(policies, policies.c.id == clocks.c.policy_id)
        .outerjoin(applications, applications.c.id == clocks.c.application_id)
        .outerjoin(processes, and_(clocks.c.record_entity == "process_run", processes.c.id == clocks.c.record_id))
        .outerjoin(users, users.c.id == processes.c.assignee_id)
        .outerjoin(roles, roles.c.code == processes.c.owner_role)
    )
    if opened:
        statement = statement.where(clocks.c.state.in_((ClockStatus.RUNNING.value, ClockStatus.PAUSED.value)))
    wanted = (
        (policies.c.code, chosen.policy), (applications.c.code, chosen.application),
        (processes.c.owner_role, chosen.owner), (_stage(uow), chosen.stage), (clocks.c.record_entity, chosen.entity),
    )  # fmt: skip
    for column, value in wanted:
        if value is not None:
            statement = statement.where(column == value)
    return scope(statement, uow, "read", "sla_clock")


def _open_clock(row: Row[Any]) -> OpenClock:
    return OpenClock(
        id=row.id,
        policy=row.policy,
        policy_id=row.policy_id,
        record_entity=row.record_entity,
        record_id=row.record_id,
        label=row.label,
        measure=Measure(row.measure),
        state=ClockStatus(row.state),
        standing=Standing(row.standing),
        started_at=row.started_at,
        due_at=row.due_at,
        warn_at=row.warn_at,
        breached_at=row.breached_at,
        target=row.target,
        consumed=row.consumed,
        owner=row.owner,
        assignee=row.assignee,
        stage=row.stage,
        application=row.application,
    )
