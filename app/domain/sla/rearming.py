"""What a clock announces next after its due instant was moved: what lies ahead fires again, the rest never twice."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import orjson

from app.domain.calendars.calendars import FULL_DAY, Calendar, WorkingCalendar
from app.domain.sla.clock_math import ClockState, ClockStatus, Measure, recompute_due
from app.domain.sla.events import ThresholdName
from app.domain.sla.thresholds import Threshold, fires_at, in_order

WARNING, BREACH = ThresholdName.WARNING, ThresholdName.BREACH
# A deadline counts the time on the wall, so it asks no calendar.
_UNASKED = WorkingCalendar(code="24x7", version=1, zone="UTC", week=dict.fromkeys(range(7), (FULL_DAY,)))


@dataclass(frozen=True, slots=True)
class Armed:
    """What a moved clock announces next, and when. `schedule` is what its row keeps, where its policy has one."""

    warn_at: datetime | None
    threshold: str | None
    fire_at: datetime | None
    schedule: str | None = None


def rearmed(
    row: Any,
    due_at: datetime,
    *,
    now: datetime,
    calendar: Calendar | None = None,
    thresholds: Sequence[Threshold] | None = None,
) -> Armed:
    """Return what lies ahead of the running clock in `row` once it is due at `due_at`.

    `calendar` is that of a clock of working time, `thresholds` are those of the policy version that drives it. Without
    them the schedule of the row moves as it stands; without a schedule there are a warning and the breach.
    """
    clock = clock_of(row)
    if clock.measure is Measure.DEADLINE:
        clock = replace(clock, target=due_at - clock.started_at)
    clock = replace(clock, due_at=due_at)
    by = calendar or _UNASKED
    if row.schedule is not None:
        if thresholds is not None:
            waits = in_order(clock.target, thresholds)
            return _next(row, [(each.code, fires_at(clock, each, calendar=by)) for each in waits], now)
        shift = due_at - row.due_at
        kept = [(code, datetime.fromisoformat(at) + shift) for code, at in row.schedule if at is not None]
        return _next(row, kept, now)
    warn_at = None
    if row.warn_minutes:
        warn_at = fires_at(clock, Threshold(WARNING, before=timedelta(minutes=row.warn_minutes)), calendar=by)
    if due_at <= now and row.breached_at is not None:
        return Armed(warn_at, None, None)
    if warn_at is not None and (warn_at > now or row.warned_at is None):
        return Armed(warn_at, WARNING.value, warn_at)
    return Armed(warn_at, BREACH.value, due_at)


def _next(row: Any, schedule: Sequence[tuple[str, datetime]], now: datetime) -> Armed:
    """The first of the schedule that lies ahead or was never announced."""
    codes = [code for code, _ in row.schedule]
    fired = codes[: codes.index(row.next_threshold)] if row.next_threshold in codes else codes
    ahead = next(((code, at) for code, at in schedule if at > now or code not in fired), None)
    warn_at = next((at for code, at in schedule if code != BREACH), None)
    kept = orjson.dumps([(code, at.isoformat()) for code, at in schedule]).decode()
    return Armed(warn_at, ahead[0] if ahead else None, ahead[1] if ahead else None, kept)


def new_due(row: Any, calendar: Calendar) -> datetime:
    """Return when a running clock that counts working time is due under this calendar."""
    return recompute_due(clock_of(row), calendar=calendar).due_at


def clock_of(row: Any) -> ClockState:
    """The clock of a row of sla_clock."""
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
    )
