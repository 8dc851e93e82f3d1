from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.calendars.calendars import Calendar
from app.domain.calendars.errors import ClockRefused, NaiveInstant
from app.domain.sla.clock_math import (
    ClockState,
    ClockStatus,
    Measure,
    cancel,
    consumed_at,
    is_breached,
    pause,
    rebaseline,
    recompute_due,
    remaining_at,
    reset,
    resume,
    start,
    start_deadline,
    stop,
)
from tests.unit.calendars.samples import calendars, durations, hours, instants, office, utc

TARGET = office()
MORNING = utc("2024-06-03 06:00")  # Monday 08:00 in Berlin, when the office opens
ZERO = timedelta(0)
some = settings(max_examples=25, deadline=None)


def test_a_duration_runs_in_working_time_only() -> None:
    clock = start(hours(12), now=MORNING, calendar=TARGET)
    assert clock.due_at == utc("2024-06-04 09:00")  # 9 hours on Monday, 3 on Tuesday
    assert consumed_at(clock, now=utc("2024-06-03 10:30"), calendar=TARGET) == hours(4)  # at lunch
    assert remaining_at(clock, now=utc("2024-06-03 22:00"), calendar=TARGET) == hours(3)
    assert remaining_at(clock, now=utc("2024-06-04 10:00"), calendar=TARGET) == -hours(1)


def test_a_pause_moves_the_due_instant_by_the_working_time_that_it_lasted() -> None:
    clock = start(hours(12), now=MORNING, calendar=TARGET)
    paused = pause(clock, now=utc("2024-06-03 08:00"), calendar=TARGET)
    assert (paused.state, paused.consumed, paused.segment_started_at) == (ClockStatus.PAUSED, hours(2), None)
    assert remaining_at(paused, now=utc("2024-06-20 08:00"), calendar=TARGET) == hours(10)
    resumed = resume(paused, now=utc("2024-06-03 09:00"), calendar=TARGET)
    assert resumed.due_at == utc("2024-06-04 10:00")  # as lunch begins in Berlin, not as it ends
    over_night = resume(paused, now=utc("2024-06-04 05:00"), calendar=TARGET)
    assert over_night.due_at == utc("2024-06-05 07:00")


def test_a_pause_outside_working_time_costs_nothing() -> None:
    clock = start(hours(12), now=MORNING, calendar=TARGET)
    paused = pause(clock, now=utc("2024-06-03 17:00"), calendar=TARGET)
    assert resume(paused, now=utc("2024-06-04 05:00"), calendar=TARGET).due_at == clock.due_at


def test_a_clock_is_breached_from_its_due_instant_on_and_the_breach_stays() -> None:
    clock = start(hours(4), now=MORNING, calendar=TARGET)
    due = utc("2024-06-03 10:00")
    assert clock.due_at == due
    assert not is_breached(clock, now=due - timedelta(microseconds=1))
    assert is_breached(clock, now=due)
    in_time = stop(clock, now=due - timedelta(microseconds=1), calendar=TARGET)
    assert in_time.breached_at is None
    assert not is_breached(in_time, now=due + hours(100))
    assert stop(clock, now=due, calendar=TARGET).breached_at == due
    late = stop(clock, now=due + hours(30), calendar=TARGET)
    assert late.breached_at == due  # when it happened, not when it was noticed
    assert is_breached(late, now=due + hours(100))
    again = reset(late, now=utc("2024-06-10 06:00"), calendar=TARGET)
    assert (again.breached_at, again.due_at, again.generation) == (due, utc("2024-06-10 10:00"), 2)


def test_an_overdue_clock_that_is_paused_and_resumed_keeps_its_due_instant() -> None:
    clock = start(hours(1), now=MORNING, calendar=TARGET)
    paused = pause(clock, now=MORNING + hours(3), calendar=TARGET)
    resumed = resume(paused, now=MORNING + hours(7), calendar=TARGET)
    assert resumed.due_at == clock.due_at
    assert paused.breached_at == resumed.breached_at == clock.due_at
    assert remaining_at(resumed, now=MORNING + hours(8), calendar=TARGET) == -hours(3)


def test_a_deadline_counts_elapsed_time_and_cannot_be_paused() -> None:
    due = utc("2024-06-05 16:00")
    clock = start_deadline(due, now=MORNING)
    assert (clock.due_at, clock.target, clock.measure) == (due, hours(58), Measure.DEADLINE)
    assert consumed_at(clock, now=MORNING + hours(20), calendar=TARGET) == hours(20)
    with pytest.raises(ClockRefused, match="A deadline cannot be paused"):
        pause(clock, now=MORNING + hours(1), calendar=TARGET)
    assert reset(clock, now=MORNING + hours(8), calendar=TARGET).due_at == due


def test_a_deadline_that_has_passed_when_its_clock_starts_is_breached_from_the_start() -> None:
    clock = start_deadline(MORNING - hours(5), now=MORNING)
    assert clock.breached_at == MORNING
    assert remaining_at(clock, now=MORNING, calendar=TARGET) == -hours(5)
    assert start_deadline(MORNING, now=MORNING).breached_at == MORNING


def test_a_deadline_is_moved_in_a_new_generation_without_forgetting_a_breach() -> None:
    due, new = MORNING + hours(10), MORNING + hours(40)
    clock = start_deadline(due, now=MORNING)
    moved = rebaseline(clock, due_at=new, now=MORNING + hours(1))
    assert (moved.due_at, moved.target, moved.generation, moved.breached_at) == (new, hours(40), 2, None)
    assert rebaseline(clock, due_at=new, now=MORNING + hours(11)).breached_at == due
    brought_forward = rebaseline(clock, due_at=MORNING + hours(2), now=MORNING + hours(3))
    assert brought_forward.breached_at == MORNING + hours(2)
    with pytest.raises(ClockRefused, match="Only a deadline can be moved"):
        rebaseline(start(hours(1), now=MORNING, calendar=TARGET), due_at=new, now=MORNING)


def test_a_changed_calendar_moves_running_durations_only() -> None:
    clock = start(hours(12), now=MORNING, calendar=TARGET)
    with_holiday = replace(TARGET, version=2, holidays=TARGET.holidays | {MORNING.date() + timedelta(days=1)})
    assert recompute_due(clock, calendar=TARGET) == clock
    assert recompute_due(clock, calendar=with_holiday).due_at == utc("2024-06-05 09:00")
    for frozen in (
        pause(clock, now=MORNING + hours(1), calendar=TARGET),
        stop(clock, now=MORNING + hours(1), calendar=TARGET),
        start_deadline(clock.due_at, now=MORNING),
    ):
        assert recompute_due(frozen, calendar=with_holiday) == frozen


def test_an_ended_clock_is_frozen_and_refuses_every_step_but_a_reset() -> None:
    clock = start(hours(12), now=MORNING, calendar=TARGET)
    later = MORNING + hours(2)
    stopped, cancelled = (end(clock, now=later, calendar=TARGET) for end in (stop, cancel))
    for ended, state in ((stopped, ClockStatus.STOPPED), (cancelled, ClockStatus.CANCELLED)):
        assert (ended.state, ended.ended_at, ended.consumed) == (state, later, hours(2))
        assert consumed_at(ended, now=later + hours(100), calendar=TARGET) == hours(2)
        for step in (pause, resume, stop, cancel):
            with pytest.raises(ClockRefused, match=f"a clock that is {state}"):
                step(ended, now=later, calendar=TARGET)
    assert reset(stopped, now=later, calendar=TARGET).state is ClockStatus.RUNNING
    with pytest.raises(ClockRefused, match="Cannot reset a clock that is cancelled"):
        reset(cancelled, now=later, calendar=TARGET)


def test_a_paused_clock_stops_with_what_it_had_consumed() -> None:
    paused = pause(start(hours(12), now=MORNING, calendar=TARGET), now=MORNING + hours(2), calendar=TARGET)
    stopped = stop(paused, now=MORNING + hours(200), calendar=TARGET)
    assert (stopped.consumed, stopped.breached_at, stopped.ended_at) == (hours(2), None, MORNING + hours(200))
    with pytest.raises(ClockRefused, match="must be running"):
        pause(paused, now=MORNING + hours(3), calendar=TARGET)


def test_steps_that_make_no_sense_are_refused() -> None:
    clock = start(hours(12), now=MORNING, calendar=TARGET)
    with pytest.raises(ClockRefused, match="must be paused"):
        resume(clock, now=MORNING, calendar=TARGET)
    with pytest.raises(ClockRefused, match="is before that") as refused:
        stop(clock, now=MORNING - hours(1), calendar=TARGET)
    assert (refused.value.code, refused.value.status) == ("clock_step_refused", 409)
    with pytest.raises(ClockRefused, match="must be more than zero"):
        start(ZERO, now=MORNING, calendar=TARGET)
    with pytest.raises(NaiveInstant):
        start(hours(1), now=MORNING.replace(tzinfo=None), calendar=TARGET)


@some
@given(
    calendar=calendars(),
    target=durations(80),
    at=st.lists(instants(), min_size=2, max_size=8).map(sorted),
    last=instants(),
)
def test_pauses_never_shorten_a_clock_and_its_parts_always_add_up(
    calendar: Calendar, target: timedelta, at: list[datetime], last: datetime
) -> None:
    clock = start(target, now=at[0], calendar=calendar)
    for now in at[1:]:
        step = pause if clock.state is ClockStatus.RUNNING else resume
        before, clock = clock, step(clock, now=now, calendar=calendar)
        assert clock.due_at >= before.due_at
        assert consumed_at(before, now=now, calendar=calendar) == consumed_at(clock, now=now, calendar=calendar)
        assert_adds_up(clock, now, calendar)
    assert_adds_up(clock, last, calendar)
    assert (clock.breached_at is not None) == (
        clock.breached_at == clock.due_at and consumed_at(clock, now=at[-1], calendar=calendar) >= target
    )


def assert_adds_up(clock: ClockState, now: datetime, calendar: Calendar) -> None:
    consumed = consumed_at(clock, now=now, calendar=calendar)
    assert consumed + remaining_at(clock, now=now, calendar=calendar) == clock.target
    assert consumed >= clock.consumed
    if clock.state is ClockStatus.RUNNING:
        assert (consumed >= clock.target) == (now >= clock.due_at or clock.breached_at is not None)


@some
@given(calendar=calendars(), target=durations(80), at=st.lists(instants(), min_size=2, max_size=5).map(sorted))
def test_due_is_monotonic_in_the_start_and_in_the_resumption(
    calendar: Calendar, target: timedelta, at: list[datetime]
) -> None:
    for early, late in pairwise(at):
        assert start(target, now=early, calendar=calendar).due_at <= start(target, now=late, calendar=calendar).due_at
    paused = pause(start(target, now=at[0], calendar=calendar), now=at[1], calendar=calendar)
    dues = [resume(paused, now=now, calendar=calendar).due_at for now in at[1:]]
    assert dues == sorted(dues)
    assert dues[0] == start(target, now=at[0], calendar=calendar).due_at  # a pause of no length changes nothing
