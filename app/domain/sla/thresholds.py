"""Thresholds on an SLA clock: warnings before it is due, the breach, escalations after it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from app.domain.calendars.calendars import Calendar
from app.domain.calendars.errors import InvalidThreshold
from app.domain.sla.clock_math import ZERO, ClockState, ClockStatus, Measure, consumed_at, segment_start

MAX_PERCENT = 1000


@dataclass(frozen=True, slots=True)
class Threshold:
    """A point on a clock: a percentage of the target consumed, or so much before or after it. Exactly one is given.

    100 percent is the breach; more than that, and what comes after it, is for escalation.
    """

    code: str
    percent: int | None = None
    before: timedelta | None = None
    after: timedelta | None = None

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.percent, self.before, self.after)) != 1:
            raise InvalidThreshold(f"Threshold {self.code} needs a percentage, or a time before or after; one of them.")
        if self.percent is not None and not 1 <= self.percent <= MAX_PERCENT:
            raise InvalidThreshold(f"Threshold {self.code} must be 1 to {MAX_PERCENT} percent, not {self.percent}.")
        for side, amount in (("before", self.before), ("after", self.after)):
            if amount is not None and amount <= ZERO:
                raise InvalidThreshold(f"Threshold {self.code} must be more than zero {side} the target, not {amount}.")

    def point(self, target: timedelta) -> timedelta:
        """Return how much of `target` is consumed when the threshold is reached."""
        if self.percent is not None:
            return target * self.percent // 100
        if self.after is not None:
            return target + self.after
        assert self.before is not None
        return target - self.before


BREACH = Threshold("breach", percent=100)


class Firing(NamedTuple):
    """The next thing that a clock will announce."""

    at: datetime
    threshold: Threshold


def next_fire_at(
    clock: ClockState, thresholds: Iterable[Threshold], *, calendar: Calendar, fired: Collection[str] = ()
) -> Firing | None:
    """Return the first threshold that has not fired in this generation, and its instant; it may lie in the past.

    `fired` holds the codes of those that have. None: nothing is left to fire, or the clock is not running.
    """
    waiting = _ascending(clock, thresholds, fired)
    if not waiting or clock.state is not ClockStatus.RUNNING:
        return None
    return Firing(fires_at(clock, waiting[0], calendar=calendar), waiting[0])


def fires_at(clock: ClockState, threshold: Threshold, *, calendar: Calendar) -> datetime:
    """Return when a running clock reaches a threshold; where it already had, when the clock last began to run.

    Raises:
        ClockRefused: the clock is not running.
    """
    since = segment_start(clock)
    wanted = threshold.point(clock.target) - clock.consumed
    if wanted <= ZERO:
        return since
    return since + wanted if clock.measure is Measure.DEADLINE else calendar.add_working_time(since, wanted)


def crossed(
    clock: ClockState,
    thresholds: Iterable[Threshold],
    *,
    now: datetime,
    calendar: Calendar,
    fired: Collection[str] = (),
) -> list[Threshold]:
    """Return the thresholds reached by `now` that have not fired, lowest first: record all, notify the last."""
    consumed = consumed_at(clock, now=now, calendar=calendar)
    return [each for each in _ascending(clock, thresholds, fired) if each.point(clock.target) <= consumed]


def _ascending(clock: ClockState, thresholds: Iterable[Threshold], fired: Collection[str]) -> list[Threshold]:
    waiting = (threshold for threshold in thresholds if threshold.code not in fired)
    return in_order(clock.target, waiting)


def in_order(target: timedelta, thresholds: Iterable[Threshold]) -> list[Threshold]:
    """Return them as a clock with this target comes to them."""
    return sorted(thresholds, key=lambda threshold: (threshold.point(target), threshold.code))
