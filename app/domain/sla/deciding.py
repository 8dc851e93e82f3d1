"""What a change of a record means for one clock: pure. `driving` reads, asks this, and writes.

A look says what the conditions of a policy hold at a moment. In this order: a record that left the policy's reach, or
whose work is not wanted, loses its clock; work that is done stops it; a reset begins anew; another target takes the
place of the old one, with what was used kept; then it pauses or runs on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import NamedTuple, Protocol

from app.domain.calendars.calendars import Calendar
from app.domain.sla import clock_math
from app.domain.sla.clock_math import ClockState, ClockStatus, Measure
from app.domain.sla.thresholds import Threshold, crossed, fires_at, in_order


class _Step(Protocol):
    """`clock_math.stop` or `clock_math.cancel`."""

    def __call__(self, clock: ClockState, *, now: datetime, calendar: Calendar) -> ClockState: ...


@dataclass(frozen=True, slots=True)
class Promise:
    """What the record's target comes to: working time, or an instant with what it was computed from."""

    within: timedelta | None = None
    due_at: datetime | None = None
    formula: str | None = None
    base_date: date | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """A record as its policy sees it at a moment. `since`: from when its time counts, where that is earlier."""

    at: datetime
    applies: bool = True
    start: bool = False
    pause: bool = False
    resume: bool | None = None  # None: it resumes once `pause` does not hold any more
    stop: bool = False
    cancel: bool = False
    reset: bool = False
    promise: Promise | None = None
    since: datetime | None = None


class Missed(NamedTuple):
    """A threshold that was reached before anybody looked. `announce`: it is still news."""

    generation: int
    threshold: str
    at: datetime
    announce: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """A clock as it is kept. `fired`: the thresholds of its generation that are recorded."""

    clock: ClockState
    fired: frozenset[str] = frozenset()
    reset_held: bool = False
    promise: Promise = field(default_factory=Promise)


@dataclass(frozen=True, slots=True)
class Decided:
    """What becomes of a clock. `kept` None: there is none, and none starts."""

    kept: Kept | None
    changed: bool = False
    missed: tuple[Missed, ...] = ()
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Measuring:
    """How a policy counts."""

    measure: Measure
    thresholds: Sequence[Threshold]
    calendar: Calendar


def decide(kept: Kept | None, look: Look, by: Measuring) -> Decided:
    """Return what a look makes of a clock, or of a record that has none yet."""
    if kept is None:
        return _begin(look, by, generation=1)
    clock = kept.clock
    if clock.state is ClockStatus.CANCELLED:
        again = _begin(look, by, generation=clock.generation + 1)
        if again.kept is None:
            return Decided(kept)
        was = replace(again.kept.clock, breached_at=clock.breached_at or again.kept.clock.breached_at)
        return replace(again, kept=replace(again.kept, clock=was))
    came = look.reset and not kept.reset_held
    noted = replace(kept, reset_held=look.reset)
    only_noted = Decided(noted, changed=noted != kept)
    if clock.state is ClockStatus.STOPPED:
        if not (came and look.applies and not look.cancel and not look.stop):
            return only_noted
        return _after_start(_anew(noted, look, by), look, by)
    if not look.applies or look.cancel:
        return _end(noted, clock_math.cancel, look, by)
    if look.stop:
        return _end(noted, clock_math.stop, look, by)
    missed: tuple[Missed, ...] = ()
    if came:
        missed = _missed(noted, look.at, by, announce=False)
        return _after_start(_anew(noted, look, by), look, by, missed)
    if by.measure is Measure.DURATION and look.promise is not None and look.promise.within not in (None, clock.target):
        missed = _missed(noted, look.at, by, announce=False)
        noted = _retargeted(noted, look, by.calendar)
    turned = _pause_or_resume(noted, look, by)
    if turned is not None:
        return replace(turned, missed=missed + turned.missed)
    return Decided(noted, changed=noted != kept, missed=missed)


def starts(look: Look) -> bool:
    """Whether a record without a clock gets one."""
    return look.applies and look.start and not look.cancel and not look.stop and look.promise is not None


def _begin(look: Look, by: Measuring, *, generation: int) -> Decided:
    if not starts(look) or look.promise is None:
        return Decided(None)
    clock = _started(look.promise, by.measure, look.since or look.at, by.calendar)
    kept = Kept(replace(clock, generation=generation), reset_held=look.reset, promise=look.promise)
    return _after_start(kept, look, by)


def _started(promise: Promise, measure: Measure, since: datetime, calendar: Calendar) -> ClockState:
    if measure is Measure.DURATION:
        assert promise.within is not None
        return clock_math.start(promise.within, now=since, calendar=calendar)
    assert promise.due_at is not None
    return clock_math.start_deadline(promise.due_at, now=since)


def _after_start(kept: Kept, look: Look, by: Measuring, missed: tuple[Missed, ...] = ()) -> Decided:
    """A clock that has just started may have to stand at once."""
    turned = _pause_or_resume(kept, look, by)
    if turned is None:
        return Decided(kept, changed=True, missed=missed)
    return replace(turned, changed=True, missed=missed + turned.missed)


def _anew(kept: Kept, look: Look, by: Measuring) -> Kept:
    """From zero, with the target that the record has now; what was breached stays."""
    clock = kept.clock
    now = _not_before(clock, look.at)
    if by.measure is Measure.DURATION and look.promise is not None and look.promise.within is not None:
        clock = replace(clock, target=look.promise.within)
    return replace(kept, clock=clock_math.reset(clock, now=now, calendar=by.calendar), fired=frozenset())


def _retargeted(kept: Kept, look: Look, calendar: Calendar) -> Kept:
    """Another target from now on, in a new generation: what was used counts, what it announces lies ahead again."""
    clock, promise = kept.clock, look.promise
    assert promise is not None
    assert promise.within is not None
    now = _not_before(clock, look.at)
    used = clock_math.consumed_at(clock, now=now, calendar=calendar)
    breached_at = clock.breached_at or (clock.due_at if clock_math.is_breached(clock, now=now) else None)
    changed = replace(
        clock, target=promise.within, consumed=used, generation=clock.generation + 1, breached_at=breached_at
    )
    left = promise.within - used
    if left <= timedelta(0):
        changed = replace(changed, due_at=now)
    elif clock.state is ClockStatus.RUNNING:
        changed = replace(changed, due_at=calendar.add_working_time(now, left))
    if clock.state is ClockStatus.RUNNING:
        changed = replace(changed, segment_started_at=now)
    return replace(kept, clock=changed, fired=frozenset(), promise=promise)


def _pause_or_resume(kept: Kept, look: Look, by: Measuring) -> Decided | None:
    if by.measure is not Measure.DURATION:
        return None
    clock = kept.clock
    if clock.state is ClockStatus.RUNNING and look.pause:
        now = _not_before(clock, look.at)
        missed = _missed(kept, now, by, announce=True)
        paused = clock_math.pause(clock, now=now, calendar=by.calendar)
        fired = kept.fired | {each.threshold for each in missed}
        return Decided(replace(kept, clock=paused, fired=fired), changed=True, missed=missed)
    if clock.state is ClockStatus.PAUSED and not look.pause and look.resume is not False:
        resumed = clock_math.resume(clock, now=look.at, calendar=by.calendar)
        return Decided(replace(kept, clock=resumed), changed=True)
    return None


def _end(kept: Kept, how: _Step, look: Look, by: Measuring) -> Decided:
    """What was missed is recorded: a breach is a fact, however soon the work was done."""
    now = _not_before(kept.clock, look.at)
    missed = _missed(kept, now, by, announce=False)
    ended = how(kept.clock, now=now, calendar=by.calendar)
    fired = kept.fired | {each.threshold for each in missed}
    return Decided(replace(kept, clock=ended, fired=fired), changed=True, missed=missed, ended=True)


def _missed(kept: Kept, now: datetime, by: Measuring, *, announce: bool) -> tuple[Missed, ...]:
    """The thresholds that a running clock has reached and nobody has recorded; only the highest can be news."""
    clock = kept.clock
    if clock.state is not ClockStatus.RUNNING:
        return ()
    now = _not_before(clock, now)
    reached = crossed(clock, by.thresholds, now=now, calendar=by.calendar, fired=kept.fired)
    last = len(reached) - 1
    return tuple(
        Missed(clock.generation, each.code, fires_at(clock, each, calendar=by.calendar), announce and number == last)
        for number, each in enumerate(reached)
    )


def _not_before(clock: ClockState, now: datetime) -> datetime:
    """A clock that starts later than now, or a log out of order, is looked at when its segment began."""
    return now if clock.segment_started_at is None else max(now, clock.segment_started_at)


def schedule_of(kept: Kept, by: Measuring) -> list[tuple[str, datetime]]:
    """What a running clock still announces and when, in order; nothing for one that does not run."""
    clock = kept.clock
    if clock.state is not ClockStatus.RUNNING:
        return []
    waiting = in_order(clock.target, (each for each in by.thresholds if each.code not in kept.fired))
    return [(each.code, fires_at(clock, each, calendar=by.calendar)) for each in waiting]
