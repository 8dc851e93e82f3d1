"""Open deadlines when a calendar changes: found out before, moved after, what has closed never.

A formula on a date is resolved once under the old and once under the new calendar, however many deadlines have it; the
deadlines that it moves are then found and moved set by set. Working time is reckoned clock by clock, in pages. A few
are moved with the publication itself; many by a job, in portions, each of them whole.
"""

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from app.core.audit import AuditEntry
from app.core.uow import UnitOfWork
from app.domain.calendars.calendars import Calendar
from app.domain.calendars.changes import first_change
from app.domain.calendars.deadlines import parse_deadline
from app.domain.calendars.errors import SlaError
from app.domain.calendars.events import CalendarPublished
from app.domain.calendars.store import calendar_of_id, calendars_built_on
from app.domain.jobs.context import ActionResult, JobContext
from app.domain.jobs.errors import ActionRefused
from app.domain.jobs.runs import queue_job
from app.domain.sla import recalculation_sql as sql
from app.domain.sla.rearming import new_due, rearmed
from app.domain.sla.store import version_of
from app.domain.sla.thresholds import Threshold
from app.domain.workflow.states import CLOSED

log = logging.getLogger("steps.sla")

FUNCTION = "sla.recalculate"
COMMAND = "calendar.recalculate"
AT_ONCE = 500
PORTION = 1_000
YEARS_BACK, YEARS_AHEAD = 2, 7
_NOTHING_BEFORE = UUID(int=0)
CLOSED_STATES = [state.value for state in CLOSED]


@dataclass(frozen=True, slots=True)
class Shift:
    """What a formula on a date gave under the calendar before, and what it gives now."""

    calendar_id: UUID
    formula: str
    base_date: date
    old: datetime
    new: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """A calendar version against the one before it: every calendar that it changes, old and new, and the shifts.

    `since`: no working time before this instant differs; None where no hour differs at all.
    """

    calendars: Mapping[UUID, tuple[Calendar, Calendar]]
    shifts: tuple[Shift, ...]
    since: datetime | None
    first_day: date | None
    formulas: Mapping[tuple[UUID, date], Mapping[str, str]] = field(default_factory=dict)

    @property
    def moves_formulas(self) -> bool:
        return bool(self.shifts)

    def values(self) -> dict[str, Any]:
        """The shifts as the arrays that the statements take."""
        return {
            "calendars": [shift.calendar_id for shift in self.shifts],
            "formulas": [shift.formula for shift in self.shifts],
            "bases": [shift.base_date for shift in self.shifts],
            "olds": [shift.old for shift in self.shifts],
            "news": [shift.new for shift in self.shifts],
        }


@dataclass(frozen=True, slots=True)
class Recalculated:
    """How much was moved."""

    processes: int = 0
    stages: int = 0
    clocks: int = 0

    def __add__(self, other: "Recalculated") -> "Recalculated":
        return Recalculated(self.processes + other.processes, self.stages + other.stages, self.clocks + other.clocks)

    @property
    def total(self) -> int:
        return self.processes + self.stages + self.clocks


async def change_of(uow: UnitOfWork, *, calendar_id: UUID, before: UUID | None, after: UUID) -> Change:
    """Work out what the version `after` changes against `before` in whatever is open.

    Raises:
        InvalidCalendar, OutsideCalendarRange: the new version cannot be used.
    """
    calendars: dict[UUID, tuple[Calendar, Calendar]] = {}
    if before is not None:
        for id_ in sorted(await calendars_built_on(uow, calendar_id)):
            old = await calendar_of_id(uow, id_, instead={calendar_id: before})
            calendars[id_] = old, await calendar_of_id(uow, id_, instead={calendar_id: after})
    years = {"first_year": uow.now.year - YEARS_BACK, "last_year": uow.now.year + YEARS_AHEAD}
    parted = {id_: first_change(old, new, **years) for id_, (old, new) in calendars.items()}
    changed = {id_: pair for id_, pair in calendars.items() if parted[id_].at_all}
    days = [found.day for found in parted.values() if found.day is not None]
    moments = [found.moment for found in parted.values() if found.moment is not None]
    shifts = tuple(await _shifts(uow, changed)) if days else ()
    levels: dict[tuple[UUID, date], dict[str, str]] = {}
    for shift in shifts:
        levels.setdefault((shift.calendar_id, shift.base_date), {})[shift.formula] = shift.new.isoformat()
    return Change(changed, shifts, min(moments, default=None), min(days, default=None), levels)


async def _shifts(uow: UnitOfWork, changed: Mapping[UUID, tuple[Calendar, Calendar]]) -> list[Shift]:
    found = []
    for row in await uow.execute(sql.READ_BASES, {"calendars": list(changed)}):
        old, new = changed[row.calendar_id]
        try:
            formula = parse_deadline(row.formula)
            was = formula.resolve(row.base_date, old)
        except SlaError:
            continue  # it gave nothing before, so nothing stands where it was put
        now = formula.resolve(row.base_date, new)
        if was != now:
            found.append(Shift(row.calendar_id, row.formula, row.base_date, was, now))
    return found


# -- moved -------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Recalculation:
    """The moving of what a change moves, portion by portion. `reason` and `context` stand in every audit entry."""

    uow: UnitOfWork
    change: Change
    reason: str
    context: Mapping[str, Any]
    _after: UUID = _NOTHING_BEFORE

    async def next(self, limit: int = PORTION) -> Recalculated:
        """Move at most `limit` of each kind; nothing moved means that nothing is left."""
        done = Recalculated()
        if self.change.moves_formulas:
            done += await self._work(limit)
            done += await self._deadline_clocks(limit)
        if not done.total:
            done += await self._duration_clocks(limit)
        return done

    async def levels(self) -> None:
        """Move the deadlines of approval levels that have their own."""
        for (calendar_id, base_date), instants in self.change.formulas.items():
            values: dict[str, Any] = {"calendar": calendar_id, "base": base_date}
            if (await self.uow.execute(sql.LOCK_RUNS_WITH_LEVELS, values)).first() is not None:
                values |= {"instants": instants, "closed": CLOSED_STATES}
                await self.uow.execute(sql.MOVE_LEVELS, values)

    async def _work(self, limit: int) -> Recalculated:
        uow, values = self.uow, {**self.change.values(), "limit": limit}
        work = (await uow.execute(sql.FIND_WORK, {**values, "closed": CLOSED_STATES})).all()
        stages = (await uow.execute(sql.FIND_STAGES, values)).all()
        runs = sorted({row.run_id for row in (*work, *stages)})
        if not runs:
            return Recalculated()
        # Commands lock the run first, and so does this, or the two could wait for each other.
        await uow.execute(sql.LOCK_RUNS, {"runs": runs})
        moved = set()
        for statement, rows, more in ((sql.MOVE_WORK, work, {"closed": CLOSED_STATES}), (sql.MOVE_STAGES, stages, {})):
            if rows:
                moved |= set((await uow.execute(statement, {**_arrays(rows), **more})).scalars())
        await uow.execute(sql.MOVE_RUNS, {"runs": runs})
        for row in (*work, *stages):
            if row.id in moved:
                self._record(row.entity, row.id, row.old_due, row.new_due)
        uow.touch(*(f"run:{run}" for run in runs[:200]))
        return Recalculated(
            processes=sum(row.id in moved for row in work), stages=sum(row.id in moved for row in stages)
        )

    async def _deadline_clocks(self, limit: int) -> Recalculated:
        rows = (await self.uow.execute(sql.FIND_CLOCKS, {**self.change.values(), "limit": limit})).all()
        dues = {row.id: (row.old_due, row.new_due) for row in rows}
        return await self._move(dues, {})

    async def _duration_clocks(self, limit: int) -> Recalculated:
        if self.change.since is None:
            return Recalculated()
        while True:
            rows = (await self.uow.execute(sql.FIND_DURATIONS, _durations_of(self.change, self._after, limit))).all()
            if not rows:
                return Recalculated()
            self._after = rows[-1].id
            by = {row.id: self.change.calendars[row.counts_by][1] for row in rows}
            dues = {row.id: (row.due_at, new) for row in rows if (new := new_due(row, by[row.id])) != row.due_at}
            moved = await self._move(dues, by)
            if moved.total:
                return moved

    async def _move(self, dues: Mapping[UUID, tuple[datetime, datetime]], by: Mapping[UUID, Calendar]) -> Recalculated:
        """Move these running clocks. `by` has the calendars of those that count working time."""
        uow = self.uow
        if not dues:
            return Recalculated()
        rows = (await uow.execute(sql.LOCK_CLOCKS, {"ids": list(dues)})).all()
        # Whoever held a clock until now may have stopped or moved it.
        rows = [row for row in rows if row.due_at == dues[row.id][0]]
        armed = [
            rearmed(
                row,
                dues[row.id][1],
                now=uow.now,
                calendar=by.get(row.id),
                thresholds=await self._thresholds(row),
            )
            for row in rows
        ]
        if rows:
            values = {
                "ids": [row.id for row in rows],
                "dues": [dues[row.id][1] for row in rows],
                "warns": [each.warn_at for each in armed],
                "thresholds": [each.threshold for each in armed],
                "fires": [each.fire_at for each in armed],
                "schedules": [each.schedule for each in armed],
            }
            await uow.execute(sql.MOVE_CLOCKS, {**values, "now": uow.now, "by": uow.actor.id})
        for row in rows:
            self._record(row.record_entity, row.record_id, *dues[row.id], clock=row.id, label=row.label)
        uow.touch("entity:sla_clock")
        return Recalculated(clocks=len(rows))

    async def _thresholds(self, row: Any) -> Sequence[Threshold] | None:
        """What the policy version that drives the clock announces."""
        if row.policy_version_id is None:
            return None
        return (await version_of(self.uow, row.policy_version_id)).thresholds

    def _record(self, entity: str, id_: UUID, old: datetime, new: datetime, **more: Any) -> None:
        self.uow.audit(
            AuditEntry(
                command=COMMAND,
                entity=entity,
                record_id=id_,
                before={"due_at": old},
                after={"due_at": new},
                reason=self.reason or None,
                context={**self.context, **more},
            )
        )


def _arrays(rows: Iterable[Any]) -> dict[str, list[Any]]:
    listed = list(rows)
    return {
        "ids": [row.id for row in listed],
        "olds": [row.old_due for row in listed],
        "news": [row.new_due for row in listed],
    }


def _durations_of(change: Change, after: UUID, limit: int) -> dict[str, Any]:
    # A period that begins where the calendars part may end a clock right there: it is looked at too.
    since = (change.since or datetime.max.replace(tzinfo=UTC)) - timedelta(microseconds=1)
    return {"calendars": list(change.calendars), "since": since, "after": after, "limit": limit}


# -- when --------------------------------------------------------------------------------------------------------------


async def on_calendar_published(uow: UnitOfWork, event: CalendarPublished) -> None:
    """Move what is open with the publication where it is little; hand it to a worker where it is much."""
    if event.previous_id is None:
        return
    change = await change_of(uow, calendar_id=event.calendar_id, before=event.previous_id, after=event.version_id)
    if not change.calendars:
        return
    if await _is_much(uow, change):
        arguments = {
            "calendar_id": event.calendar_id,
            "version_id": event.version_id,
            "previous_id": event.previous_id,
            "reason": event.reason,
        }
        await queue_job(uow, function=FUNCTION, arguments=arguments, max_attempts=10)
        return
    work = Recalculation(uow, change, event.reason, {"calendar_version": event.version_id})
    await work.levels()
    done = Recalculated()
    while (more := await work.next()).total:
        done += more
    _summarize(uow, event.version_id, done, event.reason)


async def _is_much(uow: UnitOfWork, change: Change) -> bool:
    found = 0
    values = {**change.values(), "limit": AT_ONCE + 1}
    if change.moves_formulas:
        found += len((await uow.execute(sql.FIND_WORK, {**values, "closed": CLOSED_STATES})).all())
        found += len((await uow.execute(sql.FIND_CLOCKS, values)).all())
    if change.since is not None and found <= AT_ONCE:
        pages = _durations_of(change, _NOTHING_BEFORE, AT_ONCE + 1)
        found += len((await uow.execute(sql.FIND_DURATIONS, pages)).all())
    return found > AT_ONCE


def _summarize(uow: UnitOfWork, version_id: UUID, done: Recalculated, reason: str) -> None:
    if done.total:
        uow.audit(
            AuditEntry(
                command=COMMAND,
                entity="calendar_version",
                record_id=version_id,
                after={"processes": done.processes, "stages": done.stages, "clocks": done.clocks},
                reason=reason or None,
            )
        )


async def recalculate(context: JobContext) -> ActionResult:
    """Move the deadlines that a published version moves, portion by portion; one that starts again goes on."""
    given = context.arguments
    if context.process_run is not None or not {"calendar_id", "version_id", "previous_id"} <= given.keys():
        raise ActionRefused("This action moves deadlines after a calendar was published; it is no work of a process.")
    uow = context.uow
    ids: Sequence[UUID] = [UUID(str(given[name])) for name in ("calendar_id", "previous_id", "version_id")]
    calendar_id, before, version_id = ids
    reason = str(given.get("reason") or "")
    # What has been published since is in force by now, so the deadlines go there at once.
    in_force = await calendar_in_force_id(uow, calendar_id) or version_id
    change = await change_of(uow, calendar_id=calendar_id, before=before, after=in_force)
    work = Recalculation(uow, change, reason, {"calendar_version": in_force, "job_run": context.job_run_id})
    await work.levels()
    done = Recalculated()
    while (more := await work.next()).total:
        done += more
        await context.check_cancelled()
        await uow.checkpoint()
        if not uow.simulated:
            uow.now = uow.resources.clock.now()
        context.log("info", f"{done.total:,} deadlines moved so far")
    _summarize(uow, in_force, done, reason)
    summary = {"processes": done.processes, "stages": done.stages, "clocks": done.clocks}
    digest = hashlib.sha256(orjson.dumps([str(in_force), summary], option=orjson.OPT_SORT_KEYS)).hexdigest()
    return ActionResult(output_fingerprint=digest, summary=summary)


async def calendar_in_force_id(uow: UnitOfWork, calendar_id: UUID) -> UUID | None:
    """The version of the calendar that is in force."""
    found: UUID | None = await uow.scalar(sql.READ_IN_FORCE, {"id": calendar_id})
    return found


ACTIONS = {FUNCTION: recalculate}
