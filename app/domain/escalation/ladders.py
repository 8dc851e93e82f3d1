"""How a ladder is climbed: pure rules over a plan (its steps as they were at the start) and a position on it.

    running       -- tell --> running        the step is told again, or the next one is waited for
    running       -- acknowledge --> acknowledged    nobody is told; it goes on after a while if the ladder says so
    acknowledged  -- rearm --> running       one round later, with the step that was told last
    running, acknowledged -- end --> ended   for good: the matter is over

Waits count in the working time of the step's calendar where it has one, and nobody is told outside of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from app.domain.calendars.calendars import Calendar

NOT_BEGUN = -1
MOMENT = timedelta(microseconds=1)
PUNCTUAL = timedelta(minutes=1)  # what is told later than this after its time makes the next one later too


class EscalationState(StrEnum):
    RUNNING = "running"
    ACKNOWLEDGED = "acknowledged"
    ENDED = "ended"


class Target(StrEnum):
    ROLE = "role"
    OWNER = "owner"
    MANAGER = "manager"
    PERSON = "person"
    GROUP = "group"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a plan: whom to tell, how long after the step before, and how often again."""

    wait: timedelta
    target: Target
    calendar: UUID | None = None
    role: UUID | None = None
    person: UUID | None = None
    group: UUID | None = None
    repeat_times: int = 0
    repeat_every: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where an escalation stands. `step` is told next, for the `told + 1`th time; `next_at` None: nothing comes."""

    state: EscalationState
    step: int
    told: int
    round: int
    next_at: datetime | None


Calendars = Mapping[UUID, Calendar]


def read_plan(plain: Sequence[Mapping[str, Any]]) -> tuple[Step, ...]:
    """Return the steps that a row of `escalation` holds as JSON."""
    return tuple(
        Step(
            wait=timedelta(minutes=int(step["wait_minutes"])),
            target=Target(step["target"]),
            calendar=_id(step.get("calendar")),
            role=_id(step.get("role")),
            person=_id(step.get("person")),
            group=_id(step.get("group")),
            repeat_times=int(step.get("repeat_times") or 0),
            repeat_every=timedelta(minutes=int(step.get("repeat_minutes") or 15)),
        )
        for step in plain
    )


def _id(value: Any) -> UUID | None:
    return None if value is None else UUID(str(value))


def started(now: datetime) -> Position:
    """Where every escalation begins: the sweep counts the first wait, which may need a calendar."""
    return Position(state=EscalationState.RUNNING, step=NOT_BEGUN, told=0, round=1, next_at=now)


def begin(plan: Sequence[Step], position: Position, calendars: Calendars) -> Position:
    """Wait for the first step, from the moment it was started."""
    assert position.next_at is not None
    return replace(position, step=0, next_at=after(plan[0], plan[0].wait, position.next_at, calendars))


def after(step: Step, wait: timedelta, since: datetime, calendars: Calendars) -> datetime:
    """Return when the wait is over, within the working hours of the step."""
    if step.calendar is None:
        return since + wait
    calendar = calendars[step.calendar]
    at = calendar.add_working_time(since, wait)
    return at if calendar.is_open(at) else calendar.add_working_time(at, MOMENT) - MOMENT


def within_hours(step: Step, at: datetime, calendars: Calendars) -> bool:
    """Whether the step may be told at this moment."""
    return step.calendar is None or calendars[step.calendar].is_open(at)


def told(plan: Sequence[Step], position: Position, *, now: datetime, calendars: Calendars) -> Position:
    """Move on after the step has been told."""
    step = plan[position.step]
    since = position.next_at if position.next_at and now - position.next_at <= PUNCTUAL else now
    if position.told < step.repeat_times:
        again = after(step, step.repeat_every, since, calendars)
        return replace(position, told=position.told + 1, next_at=again)
    return _next_step(plan, position, since, calendars)


def reached_nobody(plan: Sequence[Step], position: Position, *, now: datetime, calendars: Calendars) -> Position:
    """Move on from a step that reaches nobody, not even by the fallback: the next one does not wait."""
    moved = _next_step(plan, position, now, calendars)
    if moved.next_at is None:
        return moved
    return replace(moved, next_at=after(plan[moved.step], timedelta(0), now, calendars))


def _next_step(plan: Sequence[Step], position: Position, since: datetime, calendars: Calendars) -> Position:
    number = position.step + 1
    coming = after(plan[number], plan[number].wait, since, calendars) if number < len(plan) else None
    return replace(position, step=number, told=0, next_at=coming)


def acknowledged(position: Position, *, now: datetime, rearm: timedelta | None) -> Position:
    """Stop telling; go on after `rearm` unless the matter is over by then."""
    return replace(position, state=EscalationState.ACKNOWLEDGED, next_at=None if rearm is None else now + rearm)


def rearmed(plan: Sequence[Step], position: Position, *, now: datetime, calendars: Calendars) -> Position:
    """Go on after an acknowledgement, one round later, with the step that was told last."""
    number = position.step if position.told else position.step - 1
    number = min(max(number, 0), len(plan) - 1)
    at = after(plan[number], timedelta(0), now, calendars)
    return Position(state=EscalationState.RUNNING, step=number, told=0, round=position.round + 1, next_at=at)


def ended(position: Position) -> Position:
    """Stop for good."""
    return replace(position, state=EscalationState.ENDED, next_at=None)


@dataclass(frozen=True, slots=True)
class Telling:
    """A moment at which a step is told: its number from 0, and how often it was told before."""

    at: datetime
    step: int
    told: int


def course(plan: Sequence[Step], *, since: datetime, calendars: Calendars) -> list[Telling]:
    """Return every telling, in order, if nobody acknowledges and the matter is never over."""
    tellings: list[Telling] = []
    position = begin(plan, started(since), calendars) if plan else started(since)
    while plan and position.next_at is not None:
        tellings.append(Telling(position.next_at, position.step, position.told))
        position = told(plan, position, now=position.next_at, calendars=calendars)
    return tellings
