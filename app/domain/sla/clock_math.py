"""SLA clocks: how much of a target is used, and when it is due.

A clock measures a `duration` (working time; it can be paused) or a `deadline` (a fixed instant; it cannot).

    running  -- pause --> paused      its working time is being consumed
    paused   -- resume -> running     consumption stands still; `due_at` is where it stood and nothing fires
    running, paused -- stop ---> stopped     the work was done; everything is frozen
    running, paused -- cancel -> cancelled   the work was called off; everything is frozen
    running, paused, stopped -- reset -> running     from zero, in a new generation whose thresholds can fire again

`remaining` is always `target - consumed`, negative once overdue. A clock is breached from its due instant on (periods
are half-open), and `breached_at` stays whatever happens to the clock later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.calendars.calendars import Calendar
from app.domain.calendars.errors import ClockRefused
from app.domain.calendars.wall_time import as_utc

ZERO = timedelta(0)


class Measure(StrEnum):
    """What a clock counts."""

    DURATION = "duration"
    DEADLINE = "deadline"


class ClockStatus(StrEnum):
    """What a clock is doing; see the module for the steps between them."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class ClockState:
    """One clock. Instants are in UTC; `target` and `consumed` are working time, or elapsed time for a deadline.

    `consumed` is what earlier segments used; `segment_started_at` is where the one that runs now began, else None.
    """

    measure: Measure
    state: ClockStatus
    started_at: datetime
    target: timedelta
    due_at: datetime
    consumed: timedelta = ZERO
    segment_started_at: datetime | None = None
    generation: int = 1
    breached_at: datetime | None = None
    ended_at: datetime | None = None


def start(target: timedelta, *, now: datetime, calendar: Calendar) -> ClockState:
    """Start a duration clock: `target` of working time from `now`.

    Raises:
        ClockRefused: the target is not more than zero.
    """
    if target <= ZERO:
        raise ClockRefused(f"The target of an SLA must be more than zero, not {target}: set it on the policy.")
    now = as_utc(now)
    return ClockState(
        measure=Measure.DURATION,
        state=ClockStatus.RUNNING,
        started_at=now,
        target=target,
        due_at=calendar.add_working_time(now, target),
        segment_started_at=now,
    )


def start_deadline(due_at: datetime, *, now: datetime) -> ClockState:
    """Start a deadline clock; one that starts at or after its deadline is breached from its start."""
    now, due_at = as_utc(now), as_utc(due_at)
    return ClockState(
        measure=Measure.DEADLINE,
        state=ClockStatus.RUNNING,
        started_at=now,
        target=due_at - now,
        due_at=due_at,
        segment_started_at=now,
        breached_at=now if due_at <= now else None,
    )


def pause(clock: ClockState, *, now: datetime, calendar: Calendar) -> ClockState:
    """Stop consuming: add the segment's working time to `consumed`.

    Raises:
        ClockRefused: the clock is not running, or measures a deadline.
    """
    if clock.measure is Measure.DEADLINE:
        raise ClockRefused("A deadline cannot be paused: ask for a new deadline to be approved instead.")
    _require(clock, "pause", ClockStatus.RUNNING)
    now = _not_before_start(clock, now)
    return replace(
        clock,
        state=ClockStatus.PAUSED,
        consumed=consumed_at(clock, now=now, calendar=calendar),
        segment_started_at=None,
        breached_at=_breached_at(clock, now),
    )


def resume(clock: ClockState, *, now: datetime, calendar: Calendar) -> ClockState:
    """Consume again: due after what is left of the target. A clock that was overdue keeps its due instant.

    Raises:
        ClockRefused: the clock is not paused.
    """
    _require(clock, "resume", ClockStatus.PAUSED)
    now = as_utc(now)
    running = replace(clock, state=ClockStatus.RUNNING, segment_started_at=now)
    return replace(running, due_at=_due(running, now, calendar))


def stop(clock: ClockState, *, now: datetime, calendar: Calendar) -> ClockState:
    """End the clock because its work is done, and freeze it.

    Raises:
        ClockRefused: the clock has already ended.
    """
    return _end(clock, ClockStatus.STOPPED, now=now, calendar=calendar)


def cancel(clock: ClockState, *, now: datetime, calendar: Calendar) -> ClockState:
    """End the clock because its work is no longer wanted, and freeze it.

    Raises:
        ClockRefused: the clock has already ended.
    """
    return _end(clock, ClockStatus.CANCELLED, now=now, calendar=calendar)


def reset(clock: ClockState, *, now: datetime, calendar: Calendar) -> ClockState:
    """Start again from zero in a new generation; a deadline stays where it is, and so does a breach.

    Raises:
        ClockRefused: the clock is cancelled.
    """
    _require(clock, "reset", ClockStatus.RUNNING, ClockStatus.PAUSED, ClockStatus.STOPPED)
    now = as_utc(now)
    fresh = (
        start(clock.target, now=now, calendar=calendar)
        if clock.measure is Measure.DURATION
        else start_deadline(clock.due_at, now=now)
    )
    earlier = _breached_at(clock, now) if clock.state is ClockStatus.RUNNING else clock.breached_at
    return replace(fresh, generation=clock.generation + 1, breached_at=earlier or fresh.breached_at)


def rebaseline(clock: ClockState, *, due_at: datetime, now: datetime) -> ClockState:
    """Move a running deadline, in a new generation; a breach that has happened stays.

    Raises:
        ClockRefused: the clock is not running, or measures a duration.
    """
    if clock.measure is not Measure.DEADLINE:
        raise ClockRefused("Only a deadline can be moved: change the target of a duration on its policy.")
    _require(clock, "rebaseline", ClockStatus.RUNNING)
    now, due_at = as_utc(now), as_utc(due_at)
    breached_at = _breached_at(clock, now) or (max(due_at, clock.started_at) if due_at <= now else None)
    return replace(
        clock,
        due_at=due_at,
        target=due_at - clock.started_at,
        generation=clock.generation + 1,
        breached_at=breached_at,
    )


def recompute_due(clock: ClockState, *, calendar: Calendar) -> ClockState:
    """Return the clock with the due instant that a changed calendar gives; only a running duration can move."""
    if clock.measure is not Measure.DURATION or clock.state is not ClockStatus.RUNNING:
        return clock
    return replace(clock, due_at=_due(clock, segment_start(clock), calendar))


def consumed_at(clock: ClockState, *, now: datetime, calendar: Calendar) -> timedelta:
    """Return how much of the target is used at `now`."""
    if clock.state is not ClockStatus.RUNNING:
        return clock.consumed
    segment, now = segment_start(clock), as_utc(now)
    if now <= segment:
        return clock.consumed
    if clock.measure is Measure.DEADLINE:
        return clock.consumed + (now - segment)
    return clock.consumed + calendar.working_time_between(segment, now)


def remaining_at(clock: ClockState, *, now: datetime, calendar: Calendar) -> timedelta:
    """Return how much of the target is left at `now`, negative once overdue."""
    return clock.target - consumed_at(clock, now=now, calendar=calendar)


def is_breached(clock: ClockState, *, now: datetime) -> bool:
    """Say whether the clock has been breached by `now`."""
    return clock.breached_at is not None or (clock.state is ClockStatus.RUNNING and as_utc(now) >= clock.due_at)


def segment_start(clock: ClockState) -> datetime:
    """Return since when a running clock runs.

    Raises:
        ClockRefused: the clock is not running.
    """
    if clock.segment_started_at is None:
        raise ClockRefused(f"The clock is {clock.state} and does not run: resume or reset it first.")
    return clock.segment_started_at


def _end(clock: ClockState, status: ClockStatus, *, now: datetime, calendar: Calendar) -> ClockState:
    _require(clock, "stop" if status is ClockStatus.STOPPED else "cancel", ClockStatus.RUNNING, ClockStatus.PAUSED)
    running = clock.state is ClockStatus.RUNNING
    now = _not_before_start(clock, now) if running else as_utc(now)
    return replace(
        clock,
        state=status,
        consumed=consumed_at(clock, now=now, calendar=calendar),
        segment_started_at=None,
        ended_at=now,
        breached_at=_breached_at(clock, now) if running else clock.breached_at,
    )


def _due(clock: ClockState, since: datetime, calendar: Calendar) -> datetime:
    left = clock.target - clock.consumed
    return calendar.add_working_time(since, left) if left > ZERO else clock.due_at


def _breached_at(clock: ClockState, now: datetime) -> datetime | None:
    """Return when a running clock was breached: at its due instant, however late anyone looked."""
    if clock.breached_at is not None or now < clock.due_at:
        return clock.breached_at
    return max(clock.due_at, clock.started_at)


def _not_before_start(clock: ClockState, now: datetime) -> datetime:
    now = as_utc(now)
    since = segment_start(clock)
    if now < since:
        raise ClockRefused(f"The clock runs since {since.isoformat()}: {now.isoformat()} is before that.")
    return now


def _require(clock: ClockState, step: str, *allowed: ClockStatus) -> None:
    if clock.state not in allowed:
        states = " or ".join(allowed)
        raise ClockRefused(f"Cannot {step} a clock that is {clock.state}: it must be {states}.")
