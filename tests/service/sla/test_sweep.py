"""The sweep: once each, highest first after an outage, whoever runs it and whatever is broken."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from app.bootstrap import HANDLERS
from app.core.uow import UnitOfWork
from app.domain.sla.events import SlaThresholdsPassed
from app.domain.sla.sweep import DUE_IDS, sweep
from tests.factories import SYSTEM
from tests.service.sla.close import DUE, WARN, Close, statements
from tests.service.workflow.bank import manual

SOON = WARN + timedelta(minutes=1)
LATE = DUE + timedelta(minutes=1)

# Clocks on records that are no processes, so that nobody is to be told about them.
MANY = text("""
INSERT INTO sla_clock (id, row_version, created_at, updated_at, policy_id, record_entity, record_id, label, measure,
                       state, started_at, segment_started_at, warn_minutes, warn_at, due_at, next_fire_at,
                       next_threshold, generation)
SELECT uuidv7(), 1, now(), now(), p.id, 'trade', gen_random_uuid(), 'clock ' || i, 'deadline', 'running',
       CAST(:due AS timestamptz) - interval '1 day', CAST(:due AS timestamptz) - interval '1 day', 30,
       CAST(:due AS timestamptz) - interval '30 min', :due, CAST(:due AS timestamptz) - interval '30 min', 'warning', 1
FROM generate_series(1, :count) AS i JOIN sla_policy p ON p.code = 'process-deadline'
""")


async def _many(close: Close, count: int, *, due: Any = DUE) -> None:
    await close.ensure_policy()
    async with close.runtime.uow(SYSTEM) as uow:
        await uow.execute(MANY, {"count": count, "due": due})


async def test_a_clock_warns_and_then_breaches_once_each(close: Close) -> None:
    await close.run([manual("load")])
    assert (await sweep(close.runtime)).clocks == 0
    await close.at(SOON)
    first = await sweep(close.runtime)
    assert (first.clocks, first.recorded, first.announced) == (1, 1, 1)
    assert (await sweep(close.runtime)).clocks == 0
    clock = await close.clock("load")
    assert (clock["warned_at"], clock["breached_at"], clock["next_fire_at"]) == (WARN, None, DUE)
    await close.at(LATE)
    await sweep(close.runtime)
    clock = await close.clock("load")
    assert (clock["breached_at"], clock["next_fire_at"], clock["next_threshold"]) == (DUE, None, None)
    assert await close.passed("load") == [("warning", 1, True), ("breach", 1, True)]


async def test_after_an_outage_everything_missed_is_recorded_and_only_the_highest_announced(close: Close) -> None:
    await close.run([manual("load"), manual("check", deadline="BD+1 18:00 Europe/Berlin")])
    await close.at(LATE + timedelta(hours=9))
    result = await sweep(close.runtime)
    assert (result.clocks, result.recorded, result.announced) == (1, 2, 1)
    assert await close.passed("load") == [("warning", 1, False), ("breach", 1, True)]
    recorded = await close.rows("SELECT threshold, at, fired_at FROM sla_event ORDER BY at")
    assert [row["at"] for row in recorded] == [WARN, DUE]
    assert all(row["fired_at"] >= LATE for row in recorded)


async def test_four_sweepers_at_once_fire_each_threshold_once(close: Close) -> None:
    await _many(close, 600)
    await close.at(SOON)
    results = await asyncio.gather(*(sweep(close.runtime, limit=50) for _ in range(4)))
    assert sum(result.recorded for result in results) == 600
    assert await close.count("SELECT count(*) FROM sla_event WHERE threshold = 'warning'") == 600
    assert (
        await close.count("SELECT count(*) FROM sla_clock WHERE next_fire_at = due_at AND warned_at = warn_at") == 600
    )
    await close.at(LATE)
    results = await asyncio.gather(*(sweep(close.runtime, limit=50) for _ in range(4)))
    assert sum(result.announced for result in results) == 600
    assert await close.count("SELECT count(*) FROM sla_event") == 1200
    assert (
        await close.count("SELECT count(*) FROM sla_clock WHERE breached_at = due_at AND next_fire_at IS NULL") == 600
    )


async def test_a_thousand_due_clocks_take_a_handful_of_statements(close: Close) -> None:
    await _many(close, 1000)
    await close.at(LATE)
    async with statements(close.runtime) as sent:
        result = await sweep(close.runtime)
    assert (result.recorded, result.announced) == (2000, 1000)
    assert len(sent) <= 5


async def test_the_cost_follows_what_is_due_and_not_what_is_open(close: Close) -> None:
    await _many(close, 10, due=DUE - timedelta(days=1))
    blocks = [await _blocks_read(close)]
    await _many(close, 50_000, due=DUE + timedelta(days=1))
    async with close.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("ANALYZE sla_clock"))
    blocks.append(await _blocks_read(close))
    assert blocks[1] <= blocks[0] + 3  # a deeper index, not more rows


async def _blocks_read(close: Close) -> int:
    """Pages that one look at what is due touches, planned with the index as on a big table."""
    async with close.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("SET LOCAL enable_seqscan = off"))
        explain = text(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {DUE_IDS.text}").bindparams(
            *DUE_IDS._bindparams.values()
        )
        plan = await uow.scalar(explain, {"limit": 1000, "now": DUE})
    plan = json.loads(plan) if isinstance(plan, str) else plan
    assert "ix_sla_clock_next_fire" in json.dumps(plan)
    return int(plan[0]["Plan"]["Shared Hit Blocks"]) + int(plan[0]["Plan"]["Shared Read Blocks"])


async def test_a_broken_clock_is_set_aside_and_the_others_fire(close: Close) -> None:
    await _many(close, 40)
    broken: UUID = (await close.rows("SELECT id FROM sla_clock ORDER BY next_fire_at, id LIMIT 1"))[0]["id"]
    async with close.runtime.uow(SYSTEM) as uow:
        await uow.execute(
            text(f"""
            CREATE FUNCTION refuse_one() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF NEW.clock_id = '{broken}' THEN RAISE EXCEPTION 'broken row'; END IF; RETURN NEW;
            END $$
            """)
        )
        await uow.execute(
            text("CREATE TRIGGER refuse_one BEFORE INSERT ON sla_event FOR EACH ROW EXECUTE FUNCTION refuse_one()")
        )
    await close.at(SOON)
    result = await sweep(close.runtime, limit=16)
    assert (result.recorded, result.set_aside) == (39, 1)
    assert (await sweep(close.runtime)).clocks == 0  # not again at once
    async with close.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("DROP TRIGGER refuse_one ON sla_event"))
    await close.at(SOON + timedelta(minutes=6))
    assert (await sweep(close.runtime)).recorded == 1
    assert await close.count("SELECT count(*) FROM sla_event WHERE at = :warn", warn=WARN) == 40


async def test_a_listener_that_fails_on_one_clock_does_not_stop_the_others(
    close: Close, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _many(close, 9)
    poisoned = (await close.rows("SELECT id FROM sla_clock ORDER BY id LIMIT 1"))[0]["id"]

    async def choke(_uow: UnitOfWork, event: SlaThresholdsPassed) -> None:
        if any(each.clock_id == poisoned for each in event.passed):
            raise KeyError("a mistake in a handler")

    monkeypatch.setitem(HANDLERS, SlaThresholdsPassed, (choke,))
    await close.at(SOON)
    result = await sweep(close.runtime)
    assert (result.announced, result.set_aside) == (8, 1)
    assert await close.count("SELECT count(*) FROM sla_event") == 8  # what failed left nothing behind


async def test_database_time_decides_and_not_the_workers_clock(close: Close) -> None:
    await _many(close, 1)
    close.runtime.clock.shift += timedelta(days=30)  # a worker whose clock is wrong
    assert (await sweep(close.runtime)).recorded == 0


async def test_a_simulation_gives_its_own_time(close: Close) -> None:
    await _many(close, 1)
    assert (await sweep(close.runtime, now=WARN - timedelta(seconds=1))).recorded == 0
    assert (await sweep(close.runtime, now=WARN)).recorded == 1
    assert (await close.rows("SELECT fired_at FROM sla_event"))[0]["fired_at"] == WARN


async def test_only_a_running_clock_can_be_set_to_fire(close: Close) -> None:
    await _many(close, 1)
    with pytest.raises(Exception, match="running clock"):
        async with close.runtime.uow(SYSTEM) as uow:
            await uow.execute(text("UPDATE sla_clock SET state = 'stopped'"))
