"""Rules one by one: where each period, offset, roll and zone puts a date, in words too."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any

import pytest

from app.domain.calendars.calendars import Roll
from app.domain.schedules.errors import InvalidRecurrence
from app.domain.schedules.periods import PeriodKind, Weekday
from app.domain.schedules.recurrence import (
    Anchor,
    BusinessDateRule,
    Offset,
    Recurrence,
    Unit,
    next_after,
    occurrences,
    parse_offset,
)
from app.domain.schedules.wording import describe, why_moved, why_omitted
from tests.unit.calendars.samples import office

TARGET = office(years=range(2023, 2031))


def rule(**values: Any) -> Recurrence:
    given = {"period": PeriodKind.MONTH, "zone": "Europe/Berlin", "at": time(7), **values}
    if isinstance(given.get("offset"), str):
        given["offset"] = parse_offset(given["offset"])
    return Recurrence(**given)


def during(first: date, last: date, **values: Any) -> list[date]:
    """The dates of the rule that are created in the span."""
    begin = datetime.combine(first, time(), UTC)
    end = datetime.combine(last, time(23, 59), UTC)
    return [o.day for o in occurrences(rule(**values), TARGET, begin, end) if o.taken_by is None]


def year(**values: Any) -> list[str]:
    return [f"{day:%m-%d}" for day in during(date(2026, 1, 1), date(2026, 12, 31), **values)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("WD+3", Offset(3, Unit.WORKING)),
        ("wd-1", Offset(-1, Unit.WORKING)),
        ("CD -2", Offset(-2, Unit.CALENDAR)),
        ("CD+0", Offset()),
        ("0", Offset()),
        ("", Offset()),
    ],
)
def test_short_forms_of_offsets_are_read(text: str, expected: Offset) -> None:
    assert parse_offset(text) == expected
    assert parse_offset(str(expected)) == expected


@pytest.mark.parametrize("text", ["3", "+3", "WD", "WD+0", "WD+400", "BD+1", "WD+1.5", "WD+1 x", "WD+१"])
def test_other_offsets_are_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(InvalidRecurrence, match=r"Write|There is no|At most"):
        parse_offset(text)


def test_wd_plus_one_is_the_first_working_day_after_the_month_and_wd_minus_one_the_last_on_or_before_it() -> None:
    # January 2026 ends on a Saturday, February too, March on a Tuesday; Good Friday is 3 April.
    assert year(offset="WD+1")[:5] == ["01-02", "02-02", "03-02", "04-01", "05-04"]
    assert year(offset="WD-1")[:5] == ["01-30", "02-27", "03-31", "04-30", "05-29"]
    assert year(offset="WD+3")[3] == "04-07"
    assert year(offset="WD-2")[2] == "03-30"


def test_working_days_of_a_beginning_count_the_first_day_itself() -> None:
    assert year(offset="WD+1", anchor=Anchor.START)[:5] == year(offset="WD+1")[:5]
    assert year(offset="WD-1", anchor=Anchor.START)[:3] == ["01-30", "02-27", "03-31"]


@pytest.mark.parametrize(
    ("roll", "expected"),
    [
        (Roll.NONE, ["01-31", "02-28", "05-31"]),
        (Roll.FOLLOWING, ["02-02", "03-02", "06-01"]),
        (Roll.MODIFIED_FOLLOWING, ["01-30", "02-27", "05-29"]),
        (Roll.PRECEDING, ["01-30", "02-27", "05-29"]),
        (Roll.MODIFIED_PRECEDING, ["01-30", "02-27", "05-29"]),
        (Roll.END_OF_MONTH, ["01-30", "02-27", "05-29"]),
    ],
)
def test_a_month_end_on_a_weekend_goes_where_the_convention_says(roll: Roll, expected: list[str]) -> None:
    days = [day for day in year(roll=roll) if day[:2] in ("01", "02", "03", "05", "06")]
    assert set(expected) <= set(days)


def test_the_end_of_month_roll_gives_the_last_working_day_whatever_the_day() -> None:
    assert year(anchor=Anchor.START, offset="CD+14", roll=Roll.END_OF_MONTH)[:3] == ["01-30", "02-27", "03-31"]


def test_a_daily_schedule_runs_on_working_days_and_gives_holidays_to_the_day_they_move_onto() -> None:
    days = during(date(2026, 3, 30), date(2026, 4, 8), period=PeriodKind.DAILY)
    assert [f"{day:%m-%d}" for day in days] == ["03-30", "03-31", "04-01", "04-02", "04-07", "04-08"]
    found = occurrences(rule(period=PeriodKind.DAILY), TARGET, _utc("2026-04-03"), _utc("2026-04-07"))
    assert [(o.business_date.day, o.taken_by and o.taken_by.day.day) for o in found] == [(3, 7), (6, 7)]
    stays = during(date(2026, 4, 2), date(2026, 4, 8), period=PeriodKind.DAILY, roll=Roll.NONE)
    assert [day.day for day in stays] == [2, 3, 6, 7, 8]


def test_every_other_week_is_counted_from_the_date_it_is_valid_from() -> None:
    fridays = {"period": PeriodKind.WEEKLY, "weekdays": frozenset({Weekday.FRI}), "every": 2}
    days = during(date(2026, 1, 1), date(2026, 2, 28), valid_from=date(2026, 1, 7), **fridays)
    assert [f"{day:%m-%d}" for day in days] == ["01-09", "01-23", "02-06", "02-20"]
    days = during(date(2026, 1, 1), date(2026, 2, 28), valid_from=date(2026, 1, 12), **fridays)
    assert [f"{day:%m-%d}" for day in days] == ["01-16", "01-30", "02-13", "02-27"]


def test_quarters_and_years_begin_in_the_month_that_they_are_given() -> None:
    assert year(period=PeriodKind.QUARTER, roll=Roll.PRECEDING) == ["03-31", "06-30", "09-30", "12-31"]
    assert year(period=PeriodKind.QUARTER, year_begins=2, roll=Roll.PRECEDING) == ["01-30", "04-30", "07-31", "10-30"]
    assert year(period=PeriodKind.YEAR, year_begins=4) == ["03-31"]
    found = occurrences(rule(period=PeriodKind.QUARTER, year_begins=4), TARGET, _utc("2026-01-01"), _utc("2027-01-05"))
    assert [o.period.label for o in found] == ["2026-Q4", "2027-Q1", "2027-Q2", "2027-Q3"]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (BusinessDateRule.OCCURRENCE, date(2026, 4, 7)),
        (BusinessDateRule.PREVIOUS_WORKING_DAY, date(2026, 4, 2)),
        (BusinessDateRule.PERIOD_START, date(2026, 3, 1)),
        (BusinessDateRule.PERIOD_END, date(2026, 3, 31)),
        (BusinessDateRule.LAST_WORKING_DAY, date(2026, 3, 31)),
    ],
)
def test_the_business_date_is_apart_from_the_date_of_creation(chosen: BusinessDateRule, expected: date) -> None:
    found = next_after(rule(offset="WD+3", business_date=chosen), TARGET, _utc("2026-03-10"))
    assert found is not None
    assert (found.business_date, found.due_at) == (expected, datetime(2026, 4, 7, 5, tzinfo=UTC))


def test_a_run_is_created_in_advance_in_calendar_or_working_days() -> None:
    def first(**values: Any) -> datetime:
        found = next_after(rule(offset="WD-1", **values), TARGET, _utc("2026-04-10"))
        assert found is not None
        assert found.business_date == date(2026, 4, 30)
        return found.due_at

    assert first(advance=3) == datetime(2026, 4, 27, 5, tzinfo=UTC)
    assert first(advance=5, advance_unit=Unit.WORKING) == datetime(2026, 4, 23, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "day", "at", "expected"),
    [
        ("Europe/Berlin", "2026-03-29", time(2, 30), "2026-03-29T01:00:00+00:00"),  # skipped: the first valid instant
        ("Europe/Berlin", "2026-10-25", time(2, 30), "2026-10-25T00:30:00+00:00"),  # twice: the first
        ("America/New_York", "2026-03-08", time(2, 15), "2026-03-08T07:00:00+00:00"),
        ("America/New_York", "2026-11-01", time(1, 15), "2026-11-01T05:15:00+00:00"),
        ("Australia/Lord_Howe", "2026-10-04", time(2, 10), "2026-10-03T15:30:00+00:00"),
    ],
)
def test_hours_that_daylight_saving_skips_or_repeats(zone: str, day: str, at: time, expected: str) -> None:
    on = date.fromisoformat(day)
    weekday = frozenset({list(Weekday)[on.weekday()]})
    weekly = rule(period=PeriodKind.WEEKLY, weekdays=weekday, zone=zone, at=at, roll=Roll.NONE)
    found = [o for o in occurrences(weekly, TARGET, _utc(str(on.replace(day=1))), _utc("2026-12-01")) if o.day == on]
    assert [o.due_at.isoformat() for o in found] == [expected]


def test_cron_keeps_the_clock_of_its_zone_over_daylight_saving() -> None:
    cron = rule(period=PeriodKind.CRON, cron="30 2 * * *", at=None, roll=Roll.NONE)
    found = occurrences(cron, TARGET, _utc("2026-03-28"), _utc("2026-03-31"))
    assert [o.due_at.isoformat()[:16] for o in found] == ["2026-03-28T01:30", "2026-03-29T01:00", "2026-03-30T00:30"]
    hourly = rule(period=PeriodKind.CRON, cron="0 * * * *", at=None, roll=Roll.NONE, by_time=False)
    found = occurrences(hourly, TARGET, datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 10, 25, 23, tzinfo=UTC))
    assert len(found) == 25  # the day of 25 hours
    assert [o.taken_by is None for o in found].count(True) == 1  # without the time in the variant they are one run


@pytest.mark.parametrize("text", ["", "* * * *", "61 * * * *", "0 7 * * 1-5 2026", "@daily", "x", "0 0 31 2 *"])
def test_a_cron_expression_that_cannot_be_used_is_refused(text: str) -> None:
    with pytest.raises(InvalidRecurrence) as refused:
        rule(period=PeriodKind.CRON, cron=text, at=None)
    assert refused.value.field == "cron"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"at": None}, "at"),
        ({"zone": "CET"}, "zone"),
        ({"period": PeriodKind.WEEKLY}, "weekdays"),
        ({"period": PeriodKind.RETAIL_MONTH}, "retail_year_start"),
        ({"period": PeriodKind.DAILY, "every": 2, "valid_from": date(2026, 1, 1)}, "every"),
        ({"every": 2}, "valid_from"),
        ({"every": 0}, "every"),
        ({"advance": 400}, "advance"),
        ({"year_begins": 13}, "year_begins"),
        ({"valid_from": date(2026, 2, 1), "valid_until": date(2026, 1, 1)}, "valid_until"),
    ],
)
def test_a_rule_whose_parts_do_not_fit_names_the_part(values: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRecurrence) as refused:
        rule(**values)
    assert refused.value.field == field


def test_nothing_is_due_outside_the_dates_in_which_the_rule_is_valid() -> None:
    assert year(valid_from=date(2026, 3, 1), valid_until=date(2026, 6, 30), offset="WD-1") == [
        "03-31", "04-30", "05-29", "06-30",
    ]  # fmt: skip
    ended = rule(valid_until=date(2026, 1, 1))
    assert next_after(ended, TARGET, _utc("2026-02-01")) is None
    far = rule(valid_from=date(2029, 1, 1), offset="WD-1")
    found = next_after(far, TARGET, _utc("2026-02-01"))
    assert found is not None
    assert found.day == date(2029, 1, 31)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"period": PeriodKind.DAILY},
            "Every day that TARGET works, at 07:00 Europe/Berlin. "
            "A date that TARGET does not work moves to the next working day.",
        ),
        (
            {"offset": "WD+3", "business_date": BusinessDateRule.LAST_WORKING_DAY},
            "On the 3rd working day after the end of each month, at 07:00 Europe/Berlin, for the last working day of "
            "the period. Working days are those of TARGET.",
        ),
        (
            {"period": PeriodKind.QUARTER, "offset": "CD-2", "every": 2, "valid_from": date(2026, 1, 1)},
            "2 calendar days before the end of every 2nd quarter, at 07:00 Europe/Berlin. "
            "A date that TARGET does not work moves to the next working day.",
        ),
        (
            {"period": PeriodKind.WEEKLY, "weekdays": frozenset({Weekday.TUE, Weekday.FRI}), "roll": Roll.NONE},
            "Every week on Tuesday and Friday, at 07:00 Europe/Berlin. "
            "A date that TARGET does not work stays where it is.",
        ),
    ],
)
def test_a_rule_is_said_in_words(values: dict[str, Any], text: str) -> None:
    assert describe(rule(**values), "TARGET") == text


def test_what_moved_or_was_omitted_says_why() -> None:
    monthly = rule(roll=Roll.MODIFIED_FOLLOWING)
    (found,) = occurrences(monthly, TARGET, _utc("2026-01-15"), _utc("2026-02-15"))
    assert why_moved(monthly, TARGET, found) == (
        "Sat 31 Jan 2026 is not worked by TARGET, and the next working day is in another month."
    )
    assert why_omitted(monthly, TARGET, found) == ""
    daily = rule(period=PeriodKind.DAILY)
    (friday, *_) = occurrences(daily, TARGET, _utc("2026-04-03"), _utc("2026-04-07"))
    assert "Good" not in why_omitted(daily, TARGET, friday)
    assert why_omitted(daily, TARGET, friday).endswith("The run of Tue 7 Apr 2026 is there already.")


def _utc(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)
