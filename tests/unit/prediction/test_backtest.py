"""The forecasts of the sample bank's sixty days, each made from the days before it, against what happened."""

import gzip
import json
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from app.domain.prediction.backtest import Bucket, PastRun, PastWork, Report, backtest, habits_of, picture_at
from app.domain.prediction.forecast import Reason, forecast
from app.domain.prediction.hours import ALWAYS_OPEN
from app.domain.prediction.picture import Habit, Link, Measure, Source, Work
from app.domain.workflow.states import ProcessState

DAYS = Path(__file__).with_name("demo_days.json.gz")
SPACE = UUID(int=7)
INSTANTS = ("earliest_start", "due_at", "ready_at", "started_at", "submitted_at", "finished_at")


@lru_cache(maxsize=1)
def demo_days() -> tuple[PastRun, ...]:
    """The runs of the sample bank as its engine left them: instants of each process, and each change of state."""
    data = json.loads(gzip.decompress(DAYS.read_bytes()))
    return tuple(_run(day, data["edges"]) for day in data["days"])


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _run(day: dict[str, Any], edges: list[tuple[str, str]]) -> PastRun:
    ids = {code: uuid5(SPACE, f"{day['date']} {code}") for code in day["processes"]}
    works = []
    for code, values in day["processes"].items():
        instants: list[Any] = [None if seconds is None else _instant(seconds) for seconds in values["at"]]
        work = Work(
            ids[code],
            ProcessState.DONE,
            None,
            Habit({}, Source.EXPECTED, 0),
            **dict(zip(INSTANTS, instants, strict=True)),
        )
        changes = [(_instant(seconds), ProcessState(state)) for seconds, state in values["changes"]]
        works.append(PastWork(work, code, None, 10, changes))
    business_date = date.fromisoformat(day["date"])
    return PastRun(
        uuid5(SPACE, day["date"]),
        business_date,
        datetime(business_date.year, business_date.month, business_date.day, tzinfo=ZoneInfo("Europe/Berlin")),
        _instant(day["started"]),
        _instant(day["finished"]),
        _instant(day["due"]),
        works,
        [Link(ids[before], ids[after]) for before, after in edges],
        [],
        ALWAYS_OPEN,
    )


@lru_cache(maxsize=1)
def report() -> Report:
    return backtest(demo_days(), last=30)


def test_the_chance_of_a_miss_is_a_better_forecast_than_how_often_deadlines_are_missed() -> None:
    found = report()
    assert len(found.said) > 8_000
    assert 0.01 < found.base_rate < 0.2
    assert found.brier < 0.95 * found.brier_of_base_rate


def test_nine_of_ten_finishes_come_by_the_ninetieth_percentile_and_half_by_the_median() -> None:
    assert 0.80 <= report().coverage_p90 <= 0.97
    assert 0.42 <= report().coverage_p50 <= 0.60


def test_what_is_called_unlikely_seldom_happens_and_what_is_called_likely_mostly_does() -> None:
    buckets = report().buckets()
    assert buckets[0].happened < 0.08
    assert buckets[-1].happened > 0.75
    # On the whole, the more likely it is called, the more often it happens.
    low = [bucket for bucket in buckets if bucket.said < 0.4]
    high = [bucket for bucket in buckets if bucket.said >= 0.6]

    assert _share(high) > 5 * _share(low)


def _share(chosen: list[Bucket]) -> float:
    return sum(bucket.happened * bucket.count for bucket in chosen) / sum(bucket.count for bucket in chosen)


def test_a_backtest_knows_nothing_of_what_came_later() -> None:
    runs = demo_days()
    run, before = runs[30], habits_of(runs[:30])
    now = run.started_at + timedelta(minutes=40)
    picture = picture_at(run, before, now)
    assert all(work.finished_at is None or work.finished_at <= now for work in picture.works)
    assert {work.state.closed for work in picture.works} == {True, False}
    assert max(habit.observations for habit in before.values()) == 30
    assert Measure.READY_TO_DONE in picture.works[0].habit.curves


def test_the_driver_that_is_named_is_the_process_that_was_slow() -> None:
    # On this day the reconciliation took an hour longer than usual; the desk was told while it lasted.
    runs = demo_days()
    number, run = next((n, run) for n, run in enumerate(runs) if run.business_date == date(2026, 9, 4))
    reconcile = next(past.work for past in run.works if past.code == "reconcile_positions")
    assert reconcile.ready_at is not None
    ahead = forecast(picture_at(run, habits_of(runs[:number]), reconcile.ready_at + timedelta(minutes=45)))
    assert ahead is not None
    assert ahead.run.driver == reconcile.id
    assert ahead.run.reason is Reason.LATE
    assert ahead.run.miss is not None
    assert ahead.miss_otherwise is not None
    assert ahead.miss_otherwise < ahead.run.miss / 3
