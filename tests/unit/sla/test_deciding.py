"""Laws of what a change of a record means for its clock."""

from datetime import UTC, datetime, time, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.domain.calendars.calendars import Window, WorkingCalendar
from app.domain.sla.clock_math import ClockStatus, Measure, consumed_at, remaining_at
from app.domain.sla.deciding import Kept, Look, Measuring, Promise, decide, schedule_of
from app.domain.sla.promises import ALWAYS
from app.domain.sla.thresholds import BREACH, Threshold

DAY = datetime(2026, 10, 26, tzinfo=UTC)
OFFICE = WorkingCalendar(
    code="OFFICE", version=1, zone="Europe/Berlin",
    week={day: (Window(time(9), time(18)),) for day in range(5)},
)  # fmt: skip
THRESHOLDS = (Threshold("half", percent=50), BREACH, Threshold("lead", after=timedelta(hours=1)))

minutes = st.integers(0, 60 * 24 * 14).map(lambda n: DAY + timedelta(minutes=n))
targets = st.integers(1, 60 * 40).map(lambda n: timedelta(minutes=n))
calendars = st.sampled_from([ALWAYS, OFFICE])


def by(calendar: WorkingCalendar, measure: Measure = Measure.DURATION) -> Measuring:
    return Measuring(measure, THRESHOLDS, calendar)


def begun(at: datetime, target: timedelta, measuring: Measuring) -> Kept:
    kept = decide(None, Look(at, start=True, promise=Promise(within=target)), measuring).kept
    assert kept is not None
    return kept


@given(calendars, minutes, targets, st.lists(st.tuples(minutes, st.booleans()), max_size=8))
def test_pausing_and_resuming_never_shortens_and_what_is_used_and_left_is_the_target(
    calendar: WorkingCalendar, at: datetime, target: timedelta, turns: list[tuple[datetime, bool]]
) -> None:
    measuring = by(calendar)
    kept = begun(at, target, measuring)
    due = kept.clock.due_at
    for moment, pause in sorted(turns):
        if moment < at:
            continue
        after = decide(kept, Look(moment, start=True, pause=pause, promise=Promise(within=target)), measuring).kept
        assert after is not None
        if after.clock.state is ClockStatus.RUNNING:
            assert after.clock.due_at >= due
            due = after.clock.due_at
        used = consumed_at(after.clock, now=moment, calendar=calendar)
        assert used + remaining_at(after.clock, now=moment, calendar=calendar) == target
        kept = after


@given(calendars, minutes, minutes, targets)
def test_a_clock_that_starts_later_is_due_no_earlier(
    calendar: WorkingCalendar, one: datetime, other: datetime, target: timedelta
) -> None:
    first, second = (begun(at, target, by(calendar)).clock.due_at for at in sorted((one, other)))
    assert first <= second


@given(calendars, minutes, targets, minutes)
def test_what_was_reached_is_missed_once_and_the_rest_is_still_ahead(
    calendar: WorkingCalendar, at: datetime, target: timedelta, end: datetime
) -> None:
    measuring = by(calendar)
    kept = begun(at, target, measuring)
    planned = dict(schedule_of(kept, measuring))
    now = max(at, end)
    ended = decide(kept, Look(now, start=True, stop=True, promise=Promise(within=target)), measuring)
    assert {each.threshold: each.at for each in ended.missed} == {
        code: moment for code, moment in planned.items() if moment <= now
    }
    assert ended.ended
    assert ended.kept is not None
    assert (ended.kept.clock.breached_at is not None) == (planned["breach"] <= now)
    again = decide(ended.kept, Look(now, start=True, stop=True, promise=Promise(within=target)), measuring)
    assert (again.missed, again.ended, again.changed) == ((), False, False)


def test_a_reset_that_goes_on_holding_resets_once() -> None:
    measuring = by(ALWAYS)
    kept = begun(DAY, timedelta(hours=4), measuring)
    look = Look(DAY + timedelta(hours=1), start=True, reset=True, promise=Promise(within=timedelta(hours=4)))
    first = decide(kept, look, measuring).kept
    assert first is not None
    assert (first.clock.generation, first.clock.started_at) == (2, look.at)
    second = decide(first, Look(DAY + timedelta(hours=2), start=True, reset=True, promise=look.promise), measuring)
    assert second.changed is False


def test_a_deadline_is_never_paused_and_a_new_promise_does_not_move_it() -> None:
    measuring = by(OFFICE, Measure.DEADLINE)
    due = DAY + timedelta(days=1)
    kept = decide(None, Look(DAY, start=True, promise=Promise(due_at=due)), measuring).kept
    assert kept is not None
    later = decide(kept, Look(DAY, start=True, pause=True, promise=Promise(due_at=due + timedelta(days=1))), measuring)
    assert (later.changed, later.kept) == (False, kept)


def test_a_smaller_target_that_is_used_up_is_late_at_once() -> None:
    measuring = by(ALWAYS)
    kept = begun(DAY, timedelta(hours=4), measuring)
    look = Look(DAY + timedelta(hours=2), start=True, promise=Promise(within=timedelta(hours=1)))
    after = decide(kept, look, measuring).kept
    assert after is not None
    assert (after.clock.due_at, after.clock.generation) == (look.at, 2)
    assert [code for code, _ in schedule_of(after, measuring)] == ["half", "breach", "lead"]
