"""Forecasts of runs in the database: asked for by what happens, computed once, kept as rows, cleared at the end."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select, text, update

from app.core.actor import Actor
from app.core.errors import Forbidden
from app.domain.jobs.errors import Postponed
from app.domain.jobs.outbox import OutboxClaim
from app.domain.prediction.forecast import Reason
from app.domain.prediction.handlers import REFRESH_PROFILES, REFRESH_RUN
from app.domain.prediction.keeping import forget_old_forecasts, refresh_forecast, runs_due_again
from app.domain.prediction.profiles import refresh_profiles
from app.domain.prediction.queries import forecast_of_run, forecasts_of_processes, forecasts_of_runs
from app.domain.workflow.runs import create_run
from app.domain.workflow.transitions import transition
from jobs import prediction
from models.base import uuid7
from models.system.tables import outbox
from tests.factories import SYSTEM, add_row
from tests.service.prediction.past import add_past_run, working_days
from tests.service.prediction.test_profiles import YESTERDAY, at, workflow_id
from tests.service.workflow.bank import DAY, Bank, manual
from tests.service.workflow.statements import counted

NOON = datetime(2026, 10, 30, 12, tzinfo=UTC)
EDGES = [("a", "b"), ("b", "c")]


async def started(bank: Bank, *, history: int = 20, deadline: str = "BD+0 14:00 Europe/Berlin") -> UUID:
    """A run of a -> b -> c, ready at noon UTC; each usually takes 10 to 29 minutes. All are due at 13:00 UTC."""
    await bank.publish([manual(code, deadline=deadline) for code in "abc"], EDGES)
    for number, day in enumerate(working_days(YESTERDAY, history)):
        span = timedelta(minutes=10 + number)
        await add_past_run(bank, day, {"a": (at(day, 9), span), "b": (at(day, 10), span), "c": (at(day, 11), span)})
    async with bank.runtime.uow(SYSTEM, now=NOON) as uow:
        await refresh_profiles(uow, workflow_id=await workflow_id(bank))
        bank.run_id = await create_run(uow, workflow="W", business_date=DAY)
    return bank.run_id


async def forecast_at(bank: Bank, moment: datetime) -> Any:
    assert bank.run_id is not None
    async with bank.runtime.uow(SYSTEM, now=moment) as uow:
        await refresh_forecast(uow, run_id=bank.run_id)
    async with bank.runtime.uow(SYSTEM, now=moment) as uow:
        return await forecast_of_run(uow, bank.run_id)


async def do_at(bank: Bank, moment: datetime, name: str, code: str, **values: Any) -> None:
    row = await bank.row(code)
    async with bank.runtime.uow(bank.people["preparer"], now=moment) as uow:
        await transition(uow, process_run_id=row["id"], name=name, expected_version=row["row_version"], **values)


async def test_a_run_is_expected_after_the_sum_of_its_usual_times(bank: Bank) -> None:
    await started(bank)
    found = await forecast_at(bank, NOON)
    # Three medians of 19.5 minutes.
    assert abs(found.run.target.finish_p50 - (NOON + timedelta(minutes=58.5))) < timedelta(minutes=4)
    assert found.run.target.finish_p90 > found.run.target.finish_p50 + timedelta(minutes=5)
    assert found.run.observations == 20
    a, b, c = [(await bank.row(code))["id"] for code in "abc"]
    assert found.run.critical_path == (a, b, c)
    assert {found.processes[id_].source for id_ in (a, b, c)} == {"node"}
    assert found.processes[b].start_p50 > NOON + timedelta(minutes=15)
    assert 0.2 < float(found.processes[c].target.miss) < 0.8
    assert found.processes[a].target.miss < Decimal("0.05")


async def test_lateness_moves_the_forecast_and_is_named_as_the_reason(bank: Bank) -> None:
    await started(bank)
    before = await forecast_at(bank, NOON)
    late = await forecast_at(bank, NOON + timedelta(minutes=40))
    a, c = (await bank.row("a"))["id"], (await bank.row("c"))["id"]
    assert late.processes[c].target.miss > before.processes[c].target.miss
    assert late.processes[c].target.driver_id == a
    assert late.processes[c].target.reason is Reason.LATE
    assert timedelta(minutes=19) <= late.processes[c].target.late <= timedelta(minutes=22)
    words = late.processes[c].target.sentence(ZoneInfo("Europe/Berlin"))
    assert words.startswith("P(miss 14:00) = ")
    assert words.endswith("because A is 20 min late") or words.endswith("because A is 21 min late")
    assert late.run.before is None or late.run.before[0] == NOON


async def test_what_is_done_is_no_longer_forecast_and_the_end_clears_it(bank: Bank) -> None:
    run_id = await started(bank)
    await forecast_at(bank, NOON)
    for number, code in enumerate("abc"):
        await do_at(bank, NOON + timedelta(minutes=10 * number), "start", code)
        await do_at(bank, NOON + timedelta(minutes=10 * number + 9), "submit", code)
        found = await forecast_at(bank, NOON + timedelta(minutes=10 * number + 10))
        open_now = {"abc"[n] for n in range(number + 1, 3)}
        if open_now:
            assert set(found.processes) == {(await bank.row(each))["id"] for each in open_now}
    assert found is None
    assert await bank.count("SELECT count(*) FROM process_forecast") == 0
    assert await bank.count("SELECT count(*) FROM stage_forecast") == 0
    assert await bank.count("SELECT count(*) FROM run_forecast WHERE current") == 0
    assert await bank.count("SELECT count(*) FROM run_forecast WHERE run_id = :id", id=run_id) >= 1


async def test_a_forecast_that_says_the_same_is_one_row_and_another_begins_the_next(bank: Bank) -> None:
    await started(bank)
    await forecast_at(bank, NOON)
    await forecast_at(bank, NOON + timedelta(seconds=5))
    assert await bank.count("SELECT count(*) FROM run_forecast") == 1
    found = await forecast_at(bank, NOON + timedelta(minutes=45))
    assert await bank.count("SELECT count(*) FROM run_forecast") == 2
    assert found.run.computed_at == NOON + timedelta(minutes=45)
    assert not found.run.is_outdated(NOON + timedelta(minutes=50))
    assert found.run.is_outdated(NOON + timedelta(minutes=56))


async def test_without_history_the_expected_minutes_are_used_and_said_so(bank: Bank) -> None:
    await bank.run([manual("a", expected_minutes=30), manual("b", expected_minutes=60)], [("a", "b")])
    async with bank.runtime.uow(SYSTEM) as uow:
        now = uow.now
        await refresh_forecast(uow, run_id=bank.run_id)  # type: ignore[arg-type]
    async with bank.runtime.uow(SYSTEM) as uow:
        found = await forecast_of_run(uow, bank.run_id)  # type: ignore[arg-type]
    assert found is not None
    assert {each.source for each in found.processes.values()} == {"expected"}
    assert found.run.observations == 0
    assert found.run.target.finish_p50 is not None
    assert timedelta(minutes=75) < found.run.target.finish_p50 - now < timedelta(minutes=150)


async def test_many_changes_ask_for_one_forecast(bank: Bank) -> None:
    await bank.run([manual("a"), manual("b")], [("a", "b")])
    await bank.do("claim", "a", "preparer")
    await bank.do("start", "a", "preparer")
    assert await _waiting(bank, REFRESH_RUN) == 1
    # Once the waiting one may have been taken, the next change asks again.
    async with bank.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("UPDATE outbox SET available_at = now()"))
    await bank.do("submit", "a", "preparer")
    await bank.do("start", "b", "preparer")
    assert await _waiting(bank, REFRESH_RUN) == 2
    await bank.do("submit", "b", "preparer")
    assert await _waiting(bank, REFRESH_PROFILES) == 1


async def test_asking_for_a_forecast_adds_no_statement_to_a_transition(bank: Bank) -> None:
    await bank.run([manual("a")])
    row = await bank.row("a")
    with counted(bank.runtime) as sent:
        async with bank.runtime.uow(bank.people["preparer"]) as uow:
            await transition(uow, process_run_id=row["id"], name="claim", expected_version=row["row_version"])
    assert not [statement for statement in sent if "forecast" in statement or "profile" in statement]


async def _waiting(bank: Bank, job: str) -> int:
    async with bank.runtime.uow(SYSTEM) as uow:
        counted_ = select(func.count()).select_from(outbox).where(outbox.c.job == job, outbox.c.done_at.is_(None))
        return int(await uow.scalar(counted_))


def claim(job: str, payload: dict[str, Any]) -> OutboxClaim:
    return OutboxClaim(uuid7(), job, payload, 1, 5, uuid7(), timedelta(seconds=20))


async def test_the_job_forecasts_and_puts_off_what_was_forecast_a_moment_ago(bank: Bank) -> None:
    run_id = await bank.run([manual("a")])
    payload = {"run_id": str(run_id)}
    await prediction.refresh_forecast(bank.runtime, payload, claim(REFRESH_RUN, payload))
    assert await bank.count("SELECT count(*) FROM run_forecast WHERE current") == 1
    with pytest.raises(Postponed):
        await prediction.refresh_forecast(bank.runtime, payload, claim(REFRESH_RUN, payload))
    await bank.do("submit", "a", "preparer")
    async with bank.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("UPDATE run_forecast SET computed_at = computed_at - interval '1 minute'"))
    await prediction.refresh_forecast(bank.runtime, payload, claim(REFRESH_RUN, payload))
    assert await bank.count("SELECT count(*) FROM run_forecast WHERE current") == 0
    await prediction.refresh_profiles(bank.runtime, payload, claim(REFRESH_PROFILES, payload))
    assert await bank.count("SELECT count(*) FROM duration_profile WHERE process_code = 'a'") > 0


async def test_runs_under_way_are_forecast_again_as_time_passes(bank: Bank) -> None:
    run_id = await started(bank)
    assert await _due(bank, NOON) == [run_id]
    await forecast_at(bank, NOON)
    assert await _due(bank, NOON + timedelta(minutes=2)) == []
    assert await _due(bank, NOON + timedelta(minutes=4)) == [run_id]
    # A run that nobody finishes costs less as it ages.
    assert await _due(bank, NOON + timedelta(days=40)) == [run_id]
    await forecast_at(bank, NOON + timedelta(days=40))
    assert await _due(bank, NOON + timedelta(days=40, minutes=30)) == []
    assert await prediction.refresh_running(bank.runtime) >= 0


async def _due(bank: Bank, moment: datetime) -> list[UUID]:
    async with bank.runtime.uow(SYSTEM, now=moment) as uow:
        return await runs_due_again(uow, limit=10)


async def test_old_forecasts_are_forgotten(bank: Bank) -> None:
    await started(bank)
    await forecast_at(bank, NOON)
    await forecast_at(bank, NOON + timedelta(minutes=45))
    async with bank.runtime.uow(SYSTEM, now=NOON + timedelta(days=399)) as uow:
        assert await forget_old_forecasts(uow) == 0
    async with bank.runtime.uow(SYSTEM, now=NOON + timedelta(days=401)) as uow:
        assert await forget_old_forecasts(uow) == 1


async def test_only_readers_in_scope_see_a_forecast(bank: Bank) -> None:
    run_id = await started(bank)
    await forecast_at(bank, NOON)
    a = (await bank.row("a"))["id"]
    stranger = await bank.person("stranger", "preparer", node="G10")
    async with bank.runtime.uow(bank.people["preparer"]) as uow:
        assert run_id in await forecasts_of_runs(uow, [run_id])
        assert a in await forecasts_of_processes(uow, [a])
    async with bank.runtime.uow(stranger) as uow:
        seen = await forecasts_of_processes(uow, [a])
        processes = uow.table("process_run")
        may_see = await uow.scalar(select(func.count()).select_from(processes).where(processes.c.id == a))
    assert bool(seen) <= bool(may_see)
    async with bank.runtime.uow(Actor(uuid7(), "Nobody")) as uow:
        with pytest.raises(Forbidden):
            await forecasts_of_runs(uow, [run_id])


async def test_a_forecast_takes_as_many_statements_for_a_large_run_as_for_a_small_one(bank: Bank) -> None:
    counts = []
    for code, size in (("S", 2), ("L", 60)):
        codes = [f"p{number}" for number in range(size)]
        await bank.publish([manual(each) for each in codes], list(pairwise(codes)), code)
        async with bank.runtime.uow(SYSTEM, now=NOON) as uow:
            run_id = await create_run(uow, workflow=code, business_date=DAY)
        with counted(bank.runtime) as sent:
            async with bank.runtime.uow(SYSTEM, now=NOON) as uow:
                await refresh_forecast(uow, run_id=run_id)
        counts.append(len(sent))
    assert counts[0] == counts[1] <= 13


async def test_a_run_that_does_not_exist_yet_is_waited_for_until_it_is_expected(bank: Bank) -> None:
    run_id = await started(bank)
    row = await bank.row("b")
    expected_by = NOON + timedelta(hours=5)
    async with bank.runtime.uow(SYSTEM, now=NOON) as uow:
        edges = uow.table("process_edge")
        edge_id = await uow.scalar(
            update(edges).where(edges.c.successor_id == row["id"]).values(predecessor_id=None).returning(edges.c.id)
        )
        await add_row(
            uow,
            "awaited_run",
            edge_id=edge_id,
            workflow_id=await workflow_id(bank),
            process_code="x",
            run_selector="same_date",
            business_date=DAY,
            expected_by=expected_by,
        )
    found = await forecast_at(bank, NOON)
    assert found.run.run_id == run_id
    assert expected_by < found.processes[row["id"]].target.finish_p50 < expected_by + timedelta(hours=1)


async def test_what_another_run_is_expected_to_do_is_waited_for(bank: Bank) -> None:
    """The forecast of a predecessor in another run is taken from that run's own forecast."""
    run_id = await started(bank)
    b = (await bank.row("b"))["id"]
    await bank.publish([manual("far", expected_minutes=240)], code="FAR")
    async with bank.runtime.uow(SYSTEM, now=NOON) as uow:
        other = await create_run(uow, workflow="FAR", business_date=DAY)
        await refresh_forecast(uow, run_id=other)
        processes, edges = uow.table("process_run"), uow.table("process_edge")
        far = await uow.scalar(select(processes.c.id).where(processes.c.run_id == other))
        await uow.execute(update(edges).where(edges.c.successor_id == b).values(predecessor_id=far))
    found = await forecast_at(bank, NOON)
    assert timedelta(hours=3) < found.processes[b].target.finish_p50 - NOON < timedelta(hours=6)
    assert far not in found.processes
    assert found.run.run_id == run_id
