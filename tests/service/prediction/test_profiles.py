"""Profiles equal quantiles computed by other means, from the right observations."""

import random
import statistics
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from sqlalchemy import select, text

from app.domain.prediction.backtest import quantile_of
from app.domain.prediction.curves import PROBABILITIES
from app.domain.prediction.profiles import refresh_after, refresh_profiles, stale_workflows
from tests.factories import SYSTEM
from tests.service.prediction.past import add_past_run, profiles, working_days
from tests.service.workflow.bank import DAY, Bank, automatic, manual

YESTERDAY = DAY - timedelta(days=1)
NOW = datetime(2026, 10, 30, 12, tzinfo=UTC)


def at(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime.combine(day, time(hour, minute), UTC)


async def workflow_id(bank: Bank, code: str = "W") -> UUID:
    async with bank.runtime.uow(SYSTEM) as uow:
        table = uow.table("workflow")
        found: UUID = await uow.scalar(select(table.c.id).where(table.c.code == code))
        return found


async def refresh(bank: Bank) -> int:
    async with bank.runtime.uow(SYSTEM, now=NOW) as uow:
        return await refresh_profiles(uow, workflow_id=await workflow_id(bank))


async def test_quantiles_equal_those_computed_outside_the_database(bank: Bank) -> None:
    await bank.publish([manual("a"), automatic("b")])
    dice = random.Random(7)
    spans = []
    for day in working_days(YESTERDAY, 40):
        spans.append(timedelta(seconds=dice.randint(60, 5_400)))
        await add_past_run(bank, day, {"a": (at(day, 9), spans[-1]), "b": (at(day, 8), timedelta(seconds=5))})
    await refresh(bank)
    [row] = await profiles(bank, process_code="a", measure="ready_to_done", reach="any", weekday=None)
    rising = sorted(span.total_seconds() for span in spans)
    expected = [quantile_of(rising, probability) for probability in PROBABILITIES]
    found = [getattr(row, name).total_seconds() for name in ("p10", "p25", "p50", "p75", "p90", "p95")]
    assert found == [round(value, 6) for value in expected]
    assert (row.lowest.total_seconds(), row.highest.total_seconds()) == (rising[0], rising[-1])
    assert row.p50.total_seconds() == statistics.median(rising)
    assert (row.observations, row.observed_to) == (40, YESTERDAY)
    [review] = await profiles(bank, process_code="a", measure="submit_to_done", reach="any", weekday=None)
    assert abs(review.p50.total_seconds() - 0.2 * row.p50.total_seconds()) < 0.01


async def test_the_time_of_day_counts_from_the_midnight_of_the_calendar(bank: Bank) -> None:
    await bank.publish([manual("a")])
    # 27 October 2026 is after the end of summer time in Frankfurt, 20 October before it.
    for day in working_days(date(2026, 10, 20), 5):
        await add_past_run(bank, day, {"a": (at(day, 7), timedelta(hours=1))})
    await refresh(bank)
    [row] = await profiles(bank, process_code="a", measure="finish_of_day", reach="any", weekday=None)
    assert row.p50 == timedelta(hours=10)


async def test_a_weekday_is_used_only_where_it_has_a_habit_of_its_own(bank: Bank) -> None:
    await bank.publish([manual("a"), manual("b")])
    dice = random.Random(3)
    for day in working_days(YESTERDAY, 60):
        monday = timedelta(minutes=90) if day.weekday() == 0 else timedelta(0)
        noise = timedelta(seconds=dice.randint(0, 300))
        other = timedelta(minutes=20, seconds=dice.randint(0, 300))
        await add_past_run(
            bank, day, {"a": (at(day, 9), timedelta(minutes=20) + noise + monday), "b": (at(day, 9), other)}
        )
    await refresh(bank)
    usable = {
        (row.process_code, row.weekday)
        for row in await profiles(bank, measure="ready_to_done", reach="any", usable=True)
        if row.weekday is not None
    }
    assert ("a", 0) in usable
    assert not {weekday for code, weekday in usable if code == "b"}


async def test_working_time_is_taken_where_work_waits_over_closed_hours(bank: Bank) -> None:
    await bank.publish([manual("a"), automatic("b")])
    for number, day in enumerate(working_days(YESTERDAY, 20)):
        # Ready late in the afternoon, finished in the next morning; over a weekend that is three days.
        ready = at(day, 15, 30)
        following = day + timedelta(days=3 if day.weekday() == 4 else 1)
        done = at(following, 9, number % 10)
        await add_past_run(bank, day, {"a": (ready, done - ready), "b": (ready, done - ready)})
    await refresh(bank)
    [people] = await profiles(bank, process_code="a", measure="ready_to_done", reach="any", weekday=None)
    [engine] = await profiles(bank, process_code="b", measure="ready_to_done", reach="any", weekday=None)
    assert people.basis == "working"
    assert timedelta(hours=2) < people.p50 < timedelta(hours=5)
    assert engine.basis == "elapsed"
    assert engine.p50 > timedelta(hours=17)


async def test_what_was_held_is_left_out(bank: Bank) -> None:
    await bank.publish([manual("a")])
    for day in working_days(YESTERDAY, 6):
        ids = await add_past_run(bank, day, {"a": (at(day, 9), timedelta(minutes=10))})
    async with bank.runtime.uow(SYSTEM) as uow:
        await uow.execute(
            text(
                "INSERT INTO process_transition (id, row_version, created_at, updated_at, process_run_id, name,"
                " from_state, to_state, at, round, attempt, level)"
                " VALUES (uuidv7(), 1, now(), now(), :id, 'hold', 'ready', 'on_hold', now(), 1, 0, 0)"
            ),
            {"id": ids["a"]},
        )
    await refresh(bank)
    [row] = await profiles(bank, process_code="a", measure="ready_to_done", reach="any", weekday=None)
    assert row.observations == 5


async def test_neighbouring_nodes_stand_in_for_a_node_without_history(bank: Bank) -> None:
    await bank.publish([manual("a")])
    for day in working_days(YESTERDAY, 6):
        for book in ("G10-1", "G10-2", "EM-1"):
            span = timedelta(minutes=50 if book == "EM-1" else 10)
            await add_past_run(bank, day, {"a": (at(day, 9), span)}, variant=book, nodes={"a": bank.nodes[book]})
    await refresh(bank)
    rows = await profiles(bank, process_code="a", measure="ready_to_done", weekday=None)
    found = {(row.reach, row.node_id): (row.observations, row.p50) for row in rows}
    assert found["below", bank.nodes["G10"]] == (12, timedelta(minutes=10))
    assert found["node", bank.nodes["EM-1"]] == (6, timedelta(minutes=50))
    assert found["any", None] == (18, timedelta(minutes=10))


async def test_only_finished_runs_of_two_years_count_and_the_latest_of_a_node(bank: Bank) -> None:
    await bank.publish([manual("a")])
    old = date(2024, 10, 1)
    await add_past_run(bank, old, {"a": (at(old, 9), timedelta(hours=5))})
    for day in working_days(YESTERDAY, 255):
        await add_past_run(bank, day, {"a": (at(day, 9), timedelta(minutes=10))})
    await refresh(bank)
    [row] = await profiles(bank, process_code="a", measure="ready_to_done", reach="any", weekday=None)
    assert (row.observations, row.highest) == (250, timedelta(minutes=10))


async def test_profiles_follow_each_finished_run_and_are_renewed_when_neglected(bank: Bank) -> None:
    await bank.publish([manual("a")])
    for day in working_days(YESTERDAY, 5):
        ids = await add_past_run(bank, day, {"a": (at(day, 9), timedelta(minutes=10))})
    async with bank.runtime.uow(SYSTEM, now=NOW) as uow:
        assert await stale_workflows(uow, limit=5) == [await workflow_id(bank)]
        processes = uow.table("process_run")
        run_id = await uow.scalar(select(processes.c.run_id).where(processes.c.id == ids["a"]))
        assert await refresh_after(uow, run_id=run_id) is True
        assert await refresh_after(uow, run_id=run_id) is False
        assert await stale_workflows(uow, limit=5) == []
