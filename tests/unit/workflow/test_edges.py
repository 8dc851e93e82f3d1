"""Lags and run selectors: laws, and the days on which they are awkward."""

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.domain.calendars.calendars import Window, WorkingCalendar
from app.domain.workflow.definitions import Dependency, Lag
from app.domain.workflow.edges import LagTime, LagUnit, RunSelector, target_date

BERLIN = WorkingCalendar(
    code="TARGET",
    version=1,
    zone="Europe/Berlin",
    week=dict.fromkeys(range(5), (Window(time(9), time(18)),)),
    holidays=frozenset({date(2026, 5, 1), date(2026, 12, 25)}),
)
instants = st.integers(0, 15 * 365 * 86_400).map(lambda n: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=n))
days = st.dates(date(2020, 1, 1), date(2035, 1, 1))


@given(instants, st.sampled_from(LagUnit), st.integers(1, 200))
def test_a_lag_is_over_later_and_a_longer_one_not_sooner(at: datetime, unit: LagUnit, amount: int) -> None:
    over = LagTime(amount, unit).after(at, BERLIN)
    assert over > at or (unit is LagUnit.WORKING_DAYS and over >= at)
    assert LagTime(amount + 1, unit).after(at, BERLIN) >= over


@given(instants, st.integers(1, 100))
def test_working_time_is_never_shorter_than_plain_time(at: datetime, amount: int) -> None:
    plain = LagTime(amount, LagUnit.HOURS).after(at, None)
    assert LagTime(amount, LagUnit.WORKING_HOURS).after(at, BERLIN) >= plain


@pytest.mark.parametrize(
    ("lag", "since", "over"),
    [
        # The night in which Berlin puts its clocks back is an hour longer, and the same wall time 25 hours later.
        (LagTime(1, LagUnit.DAYS), datetime(2026, 10, 24, 16, tzinfo=UTC), datetime(2026, 10, 25, 17, tzinfo=UTC)),
        (LagTime(24, LagUnit.HOURS), datetime(2026, 10, 24, 16, tzinfo=UTC), datetime(2026, 10, 25, 16, tzinfo=UTC)),
        # 02:30 does not exist on the last Sunday of March.
        (LagTime(1, LagUnit.DAYS), datetime(2026, 3, 28, 1, 30, tzinfo=UTC), datetime(2026, 3, 29, 1, 0, tzinfo=UTC)),
        # The first of May is a holiday, a Friday.
        (LagTime(1, LagUnit.WORKING_DAYS), datetime(2026, 4, 30, 12, tzinfo=UTC), datetime(2026, 5, 4, 12, tzinfo=UTC)),
        (LagTime(2, LagUnit.WORKING_HOURS), datetime(2026, 4, 30, 15, tzinfo=UTC), datetime(2026, 5, 4, 8, tzinfo=UTC)),
    ],
)
def test_a_lag_over_an_awkward_day(lag: LagTime, since: datetime, over: datetime) -> None:
    assert lag.after(since, BERLIN) == over


def test_a_lag_reads_as_people_say_it() -> None:
    assert (str(LagTime(1, LagUnit.HOURS)), str(LagTime(3, LagUnit.WORKING_DAYS))) == ("1 hour", "3 working days")


def test_a_lag_in_working_time_needs_a_calendar() -> None:
    with pytest.raises(ValueError, match="needs a calendar"):
        LagTime(1, LagUnit.WORKING_DAYS).after(datetime(2026, 1, 1, tzinfo=UTC), None)


@given(days, st.sampled_from(RunSelector))
def test_the_run_that_is_meant_is_never_ahead(day: date, selector: RunSelector) -> None:
    meant = target_date(selector, day, BERLIN)
    assert meant <= day
    if selector in (RunSelector.PREVIOUS_DATE, RunSelector.PERIOD_END):
        assert BERLIN.is_working_day(meant)
    if selector is RunSelector.PREVIOUS_DATE:
        assert meant < day


@given(days)
def test_the_period_end_stays_the_same_until_the_next_one(day: date) -> None:
    meant = target_date(RunSelector.PERIOD_END, day, BERLIN)
    tomorrow = target_date(RunSelector.PERIOD_END, day + timedelta(days=1), BERLIN)
    assert tomorrow in (meant, day + timedelta(days=1))


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"from": "a", "to": "b", "run_selector": "same_date"}, "only where `workflow` names another workflow"),
        ({"from": "a", "to": "b", "expected_by": "BD+0 18:00 UTC"}, "only where `workflow`"),
        ({"from": "a", "to": "b", "type": "XX"}, "'FS', 'SS', 'FF' or 'SF'"),
        ({"from": "a", "to": "b", "lag": {"amount": 0, "unit": "hours"}}, "greater than or equal to 1"),
        ({"from": "a", "to": "b", "lag": {"amount": 900, "unit": "days"}}, "at most 731 days"),
    ],
)
def test_a_dependency_that_makes_no_sense_is_refused(given_: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Dependency.model_validate(given_)


def test_a_run_of_another_workflow_is_of_the_same_date_unless_it_says_otherwise() -> None:
    edge = Dependency.model_validate({"from": "a", "to": "b", "workflow": "W"})
    assert (edge.run_selector, edge.within) == (RunSelector.SAME_DATE, False)
    assert Lag(amount=3).time == LagTime(3, LagUnit.MINUTES)
