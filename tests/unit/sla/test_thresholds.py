from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.calendars.calendars import Calendar
from app.domain.calendars.errors import ClockRefused, InvalidThreshold
from app.domain.sla.clock_math import pause, resume, start, start_deadline, stop
from app.domain.sla.thresholds import BREACH, Firing, Threshold, crossed, fires_at, next_fire_at
from tests.unit.calendars.samples import calendars, durations, hours, instants, office, utc

TARGET = office()
MORNING = utc("2024-06-03 06:00")  # Monday 08:00 in Berlin, when the office opens
HALF = Threshold("half", percent=50)
HOUR_LEFT = Threshold("hour_left", before=hours(1))
ESCALATE = Threshold("escalate", percent=150)
ALL = (BREACH, ESCALATE, HOUR_LEFT, HALF)


def test_thresholds_of_a_duration_fire_in_working_time_one_after_the_other() -> None:
    clock = start(hours(10), now=MORNING, calendar=TARGET)
    fired: list[str] = []
    firings: list[tuple[str, datetime]] = []
    while (firing := next_fire_at(clock, ALL, calendar=TARGET, fired=fired)) is not None:
        fired.append(firing.threshold.code)
        firings.append((firing.threshold.code, firing.at))
    assert firings == [
        ("half", utc("2024-06-03 12:00")),  # lunch does not count
        ("hour_left", utc("2024-06-03 16:00")),
        ("breach", utc("2024-06-04 07:00")),
        ("escalate", utc("2024-06-04 13:00")),
    ]


def test_thresholds_of_a_deadline_fire_in_elapsed_time() -> None:
    clock = start_deadline(MORNING + hours(40), now=MORNING)
    assert fires_at(clock, HALF, calendar=TARGET) == MORNING + hours(20)
    assert fires_at(clock, HOUR_LEFT, calendar=TARGET) == MORNING + hours(39)
    assert fires_at(clock, BREACH, calendar=TARGET) == clock.due_at


def test_a_pause_holds_thresholds_back_and_a_fired_one_does_not_fire_again_after_it() -> None:
    clock = start(hours(10), now=MORNING, calendar=TARGET)
    paused = pause(clock, now=utc("2024-06-03 13:00"), calendar=TARGET)
    assert next_fire_at(paused, ALL, calendar=TARGET) is None
    with pytest.raises(ClockRefused, match="is paused and does not run"):
        fires_at(paused, HALF, calendar=TARGET)
    resumed = resume(paused, now=utc("2024-06-04 06:00"), calendar=TARGET)
    assert next_fire_at(resumed, ALL, calendar=TARGET, fired={"half"}) == Firing(utc("2024-06-04 09:00"), HOUR_LEFT)
    # Half was reached before the pause: had nothing announced it, it would be due at once.
    assert next_fire_at(resumed, ALL, calendar=TARGET) == Firing(utc("2024-06-04 06:00"), HALF)


def test_after_an_outage_every_missed_threshold_is_named_and_the_highest_is_last() -> None:
    clock = start(hours(10), now=MORNING, calendar=TARGET)
    night = utc("2024-06-04 12:59")
    assert crossed(clock, ALL, now=night, calendar=TARGET) == [HALF, HOUR_LEFT, BREACH]
    assert crossed(clock, ALL, now=night, calendar=TARGET, fired=["half"]) == [HOUR_LEFT, BREACH]
    assert crossed(clock, ALL, now=MORNING, calendar=TARGET) == []
    stopped = stop(clock, now=utc("2024-06-03 13:00"), calendar=TARGET)
    assert crossed(stopped, ALL, now=night, calendar=TARGET) == [HALF]
    assert next_fire_at(stopped, ALL, calendar=TARGET) is None


def test_a_warning_longer_than_the_target_is_due_from_the_start() -> None:
    clock = start(hours(0.5), now=MORNING, calendar=TARGET)
    assert next_fire_at(clock, ALL, calendar=TARGET) == Firing(MORNING, HOUR_LEFT)
    overdue = start_deadline(MORNING - hours(3), now=MORNING)
    assert fires_at(overdue, BREACH, calendar=TARGET) == MORNING


@pytest.mark.parametrize(
    ("percent", "before"), [(None, None), (50, hours(1)), (0, None), (1001, None), (None, hours(0)), (None, -hours(1))]
)
def test_a_threshold_that_cannot_be_measured_is_refused(percent: int | None, before: timedelta | None) -> None:
    with pytest.raises(InvalidThreshold):
        Threshold("odd", percent=percent, before=before)


@settings(max_examples=25, deadline=None)
@given(
    calendar=calendars(),
    target=durations(80),
    at=st.lists(instants(), min_size=3, max_size=3).map(sorted),
    threshold=st.one_of(
        st.builds(Threshold, st.just("any"), percent=st.integers(1, 300)),
        st.builds(Threshold, st.just("any"), before=durations(40)),
    ),
    measured=st.booleans(),
)
def test_a_threshold_is_crossed_exactly_from_the_instant_at_which_it_fires(
    calendar: Calendar, target: timedelta, at: list[datetime], threshold: Threshold, measured: bool
) -> None:
    if measured:
        paused = pause(start(target, now=at[0], calendar=calendar), now=at[1], calendar=calendar)
        clock = resume(paused, now=at[2], calendar=calendar)
    else:
        clock = start_deadline(at[1], now=at[0])
    due = fires_at(clock, threshold, calendar=calendar)
    assert crossed(clock, [threshold], now=due, calendar=calendar) == [threshold]
    if due != clock.segment_started_at:
        assert crossed(clock, [threshold], now=due - timedelta(microseconds=1), calendar=calendar) == []
    breach = fires_at(clock, BREACH, calendar=calendar)
    assert breach == max(clock.due_at, clock.segment_started_at or clock.due_at)
