"""What a moved clock announces next, on rows as the table has them."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from app.domain.calendars.calendars import Window, WorkingCalendar
from app.domain.sla.rearming import rearmed
from app.domain.sla.thresholds import BREACH, Threshold

NOON = datetime(2026, 10, 30, 12, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OFFICE = WorkingCalendar(
    code="UTC", version=1, zone="UTC",
    week=dict.fromkeys(range(5), (Window(NOON.replace(hour=9).time(), NOON.replace(hour=17).time()),)),
)  # fmt: skip


def row(**values: Any) -> SimpleNamespace:
    """A deadline clock that began at noon and is due three hours later, with a warning half an hour before."""
    given = {
        "measure": "deadline", "state": "running", "started_at": NOON, "segment_started_at": NOON, "consumed": None,
        "target": 3 * HOUR, "due_at": NOON + 3 * HOUR, "generation": 1, "breached_at": None, "warned_at": None,
        "warn_minutes": 30, "schedule": None, "next_threshold": "warning", **values,
    }  # fmt: skip
    return SimpleNamespace(**given)


def test_a_warning_that_lies_ahead_again_is_given_again() -> None:
    armed = rearmed(row(warned_at=NOON, next_threshold="breach"), NOON + DAY, now=NOON + 2 * HOUR)
    assert (armed.threshold, armed.fire_at, armed.warn_at) == ("warning", *[NOON + DAY - HOUR / 2] * 2)


def test_a_warning_that_was_given_is_not_repeated_where_only_the_breach_lies_ahead() -> None:
    due = NOON + 2 * HOUR
    armed = rearmed(row(warned_at=NOON, next_threshold="breach"), due, now=due - HOUR / 4)
    assert (armed.threshold, armed.fire_at) == ("breach", due)


def test_what_moves_into_the_past_fires_at_once_and_a_breach_on_record_never_again() -> None:
    due = NOON - HOUR
    assert rearmed(row(), due, now=NOON).threshold == "warning"
    assert rearmed(row(warned_at=NOON), due, now=NOON).threshold == "breach"
    nothing = rearmed(row(warned_at=NOON, breached_at=NOON), due, now=NOON)
    assert (nothing.threshold, nothing.fire_at) == (None, None)


def test_a_schedule_moves_as_it_stands_and_starts_where_something_lies_ahead() -> None:
    schedule = [["half", (NOON + 1.5 * HOUR).isoformat()], ["breach", (NOON + 3 * HOUR).isoformat()],
                ["late", (NOON + 4 * HOUR).isoformat()]]  # fmt: skip
    kept = row(schedule=schedule, next_threshold="late", warn_minutes=0)
    armed = rearmed(kept, NOON + 4 * HOUR, now=NOON + 3.5 * HOUR)
    assert (armed.threshold, armed.fire_at) == ("breach", NOON + 4 * HOUR)
    assert armed.schedule is not None
    assert '"late","2026-10-30T17:00:00+00:00"' in armed.schedule


def test_percentages_of_working_time_are_reckoned_anew_under_the_calendar() -> None:
    points = (Threshold("half", percent=50), BREACH)
    kept = row(measure="duration", target=8 * HOUR, schedule=[["half", None], ["breach", None]], next_threshold="half")
    due = OFFICE.add_working_time(NOON, 8 * HOUR)
    assert due == NOON + 3 * DAY  # Monday, for Friday had five hours left
    armed = rearmed(kept, due, now=NOON, calendar=OFFICE, thresholds=points)
    assert (armed.threshold, armed.fire_at) == ("half", NOON + 4 * HOUR)
    assert armed.schedule == '[["half","2026-10-30T16:00:00+00:00"],["breach","2026-11-02T12:00:00+00:00"]]'
