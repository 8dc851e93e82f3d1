"""Clocks that count working time: started under a policy, paused while their work is held, frozen at their end.

What they have used depends on a calendar, so Python counts (`clock_math`); there are few of them on one record.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, insert, select, text, update

from app.core.errors import Conflict, NotFound
from app.core.uow import UnitOfWork
from app.domain.calendars.calendars import Calendar
from app.domain.calendars.store import calendar_of_id
from app.domain.sla import clock_math
from app.domain.sla.clock_math import ClockState, ClockStatus, Measure
from app.domain.sla.events import ThresholdName
from app.domain.sla.thresholds import BREACH, Threshold, fires_at, next_fire_at
from models.base import uuid7

_POLICY = text("""
SELECT s.id, s.target, s.warn_minutes, s.calendar_id
FROM sla_policy s WHERE s.code = :code AND s.active AND s.measure = 'duration'
""")

# What has fired already, by what is to fire next.
_FIRED: Mapping[str | None, tuple[str, ...]] = {
    ThresholdName.WARNING: (),
    ThresholdName.BREACH: (ThresholdName.WARNING,),
    None: (ThresholdName.WARNING, ThresholdName.BREACH),
}

Step = Callable[[ClockState, Calendar], ClockState]


async def start_duration(
    uow: UnitOfWork,
    *,
    policy: str,
    record_entity: str,
    record_id: UUID,
    label: str,
    application_id: UUID | None = None,
    node_id: UUID | None = None,
) -> UUID:
    """Start a clock of the duration policy with this code on a record. Returns the clock's id.

    Raises:
        NotFound: there is no such active policy of measure duration.
        Conflict: the record has a clock of it already, or the policy names no target or calendar.
    """
    found = (await uow.execute(_POLICY, {"code": policy})).one_or_none()
    if found is None:
        raise NotFound(f"There is no active SLA policy {policy} that measures a duration.")
    if found.target is None or found.calendar_id is None:
        raise Conflict(f"The SLA policy {policy} needs a target and a calendar before clocks can start.")
    calendar = await calendar_of_id(uow, found.calendar_id)
    clock = clock_math.start(found.target, now=uow.now, calendar=calendar)
    id_, by = uuid7(), uow.actor.id
    values = {
        "id": id_,
        "policy_id": found.id,
        "record_entity": record_entity,
        "record_id": record_id,
        "label": label,
        "application_id": application_id,
        "node_id": node_id,
        "measure": Measure.DURATION.value,
        "calendar_id": found.calendar_id,
        "warn_minutes": found.warn_minutes or 0,
        "row_version": 1,
        "created_at": uow.now,
        "created_by": by,
        "updated_at": uow.now,
        "updated_by": by,
        **_columns(clock, found.warn_minutes or 0, calendar, fired=()),
    }
    await uow.execute(insert(uow.table("sla_clock")).values(values))
    return id_


async def pause_on_hold(uow: UnitOfWork, id_: UUID, *, whole_run: bool = False) -> None:
    """Pause the running clocks of a process (or of a whole run) whose policy says so."""
    chosen = _chosen(uow, id_, ClockStatus.RUNNING, whole_run=whole_run)
    await _take_step(uow, chosen, lambda clock, calendar: clock_math.pause(clock, now=uow.now, calendar=calendar))


async def resume_after_hold(uow: UnitOfWork, id_: UUID, *, whole_run: bool = False) -> None:
    """Let the paused clocks of a process (or of a whole run) run on, due after what is left of their target."""
    chosen = _chosen(uow, id_, ClockStatus.PAUSED, whole_run=whole_run)
    await _take_step(uow, chosen, lambda clock, calendar: clock_math.resume(clock, now=uow.now, calendar=calendar))


async def freeze(uow: UnitOfWork, ids: Sequence[UUID]) -> None:
    """Count what clocks that were just stopped have used."""
    if ids:
        clocks = _with_policy(uow).where(uow.table("sla_clock").c.id.in_(ids))
        await _take_step(uow, clocks, lambda clock, calendar: _frozen(uow, clock, calendar))


async def begin_again(uow: UnitOfWork, ids: Sequence[UUID]) -> None:
    """Count clocks that were just restarted from zero."""
    if ids:
        clocks = _with_policy(uow).where(uow.table("sla_clock").c.id.in_(ids))
        await _take_step(uow, clocks, lambda clock, calendar: _from_zero(uow, clock, calendar), anew=True)


def _frozen(uow: UnitOfWork, clock: ClockState, calendar: Calendar) -> ClockState:
    """The clock as its state already says, with its last segment counted; a paused one had no open segment."""
    if clock.segment_started_at is None:
        return clock
    running = replace(clock, state=ClockStatus.RUNNING)
    used = clock_math.consumed_at(running, now=uow.now, calendar=calendar)
    return replace(clock, consumed=used, segment_started_at=None)


def _from_zero(uow: UnitOfWork, clock: ClockState, calendar: Calendar) -> ClockState:
    fresh = clock_math.start(clock.target, now=uow.now, calendar=calendar)
    return replace(fresh, generation=clock.generation, breached_at=clock.breached_at)


def _with_policy(uow: UnitOfWork) -> Select[Any]:
    clocks, policies = uow.table("sla_clock"), uow.table("sla_policy")
    return (
        select(clocks, policies.c.calendar_id)
        .join(policies, policies.c.id == clocks.c.policy_id)
        .where(clocks.c.measure == Measure.DURATION.value)
        .order_by(clocks.c.id)
        .with_for_update(of=clocks)
    )


def _chosen(uow: UnitOfWork, id_: UUID, status: ClockStatus, *, whole_run: bool) -> Select[Any]:
    clocks, policies, processes = (uow.table(name) for name in ("sla_clock", "sla_policy", "process_run"))
    mine = clocks.c.record_id == id_
    if whole_run:
        mine = clocks.c.record_id.in_(select(processes.c.id).where(processes.c.run_id == id_))
    return _with_policy(uow).where(
        clocks.c.record_entity == "process_run",
        clocks.c.policy_version_id.is_(None),
        mine,
        clocks.c.state == status.value,
        policies.c.pause_on_hold.is_(True),
    )


async def _take_step(uow: UnitOfWork, chosen: Select[Any], step: Step, *, anew: bool = False) -> None:
    """Write each clock as the step leaves it. `anew`: its thresholds can fire once more, whatever has fired before."""
    clocks = uow.table("sla_clock")
    for row in (await uow.execute(chosen)).all():
        calendar = await calendar_of_id(uow, row.calendar_id)
        after = step(_clock(row), calendar)
        fired = () if anew else _FIRED[row.next_threshold]
        values = _columns(after, row.warn_minutes, calendar, fired=fired)
        warned = timedelta(minutes=row.warn_minutes) >= after.target - after.consumed
        if not anew and (warned or after.state is not ClockStatus.RUNNING):
            values["warn_at"] = row.warn_at  # it was reached then, or nobody knows yet when it will be
        if after.state is ClockStatus.PAUSED:
            values["next_threshold"] = row.next_threshold  # where it goes on from when it is resumed
        await uow.execute(
            update(clocks)
            .where(clocks.c.id == row.id)
            .values(
                **values,
                warned_at=None if anew else row.warned_at,
                row_version=row.row_version + 1,
                updated_at=uow.now,
                updated_by=uow.actor.id,
            )
        )


def _clock(row: Row[Any]) -> ClockState:
    return ClockState(
        measure=Measure(row.measure),
        state=ClockStatus(row.state),
        started_at=row.started_at,
        target=row.target,
        due_at=row.due_at,
        consumed=row.consumed or timedelta(0),
        segment_started_at=row.segment_started_at,
        generation=row.generation,
        breached_at=row.breached_at,
        ended_at=row.stopped_at,
    )


def _columns(clock: ClockState, warn_minutes: int, calendar: Calendar, *, fired: Sequence[str]) -> dict[str, Any]:
    warning = Threshold(ThresholdName.WARNING, before=timedelta(minutes=warn_minutes)) if warn_minutes else None
    thresholds = [threshold for threshold in (warning, BREACH) if threshold is not None]
    firing = next_fire_at(clock, thresholds, calendar=calendar, fired=fired)
    running = clock.state is ClockStatus.RUNNING
    return {
        "state": clock.state.value,
        "started_at": clock.started_at,
        "segment_started_at": clock.segment_started_at,
        "consumed": clock.consumed,
        "target": clock.target,
        "due_at": clock.due_at,
        "warn_at": fires_at(clock, warning, calendar=calendar) if warning is not None and running else None,
        "next_fire_at": firing.at if firing else None,
        "next_threshold": firing.threshold.code if firing else None,
        "generation": clock.generation,
        "breached_at": clock.breached_at,
    }
