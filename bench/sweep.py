"""The sweep: 1,000 due of 1,000,000 open clocks against bare SQL that writes the same rows, its idle tick, and a
thousand late processes announced to people with notification and mail.

Run with `python -m bench.sweep`, `--clocks 100000` for fewer; prints one JSON object a line.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import insert

from app.bootstrap import Runtime, build
from app.core.actor import system_actor
from app.core.db import asyncpg_dsn
from app.core.embedded import start_embedded
from app.core.migrations import upgrade_async
from app.core.settings import Settings
from app.domain.sla.policies import ensure_shipped_policies
from app.domain.sla.sweep import sweep
from app.domain.workflow.definition_store import save_draft
from app.domain.workflow.package_loader import read_workflow
from app.domain.workflow.publishing import publish
from app.domain.workflow.runs import create_run
from models.base import uuid7

CLOCKS = 1_000_000
DUE = 1_000
ROUNDS = 5
TICKS = 300
SYSTEM = system_actor("Bench")
DAY = date(2026, 10, 30)
MORNING = datetime(2026, 10, 30, 6, 0, tzinfo=UTC)

OPEN_CLOCKS = """
INSERT INTO sla_clock (id, row_version, created_at, updated_at, policy_id, record_entity, record_id, label, measure,
                       state, started_at, segment_started_at, warn_minutes, warn_at, due_at, next_fire_at,
                       next_threshold, generation)
SELECT uuidv7(), 1, now(), now(), p.id, 'trade', gen_random_uuid(), 'clock ' || i, 'deadline', 'running', now(), now(),
       30, due - interval '30 minutes', due, due - interval '30 minutes', 'warning', 1
FROM (SELECT i, now() + interval '1 day' + i * interval '1 second' AS due FROM generate_series(1, $1::int) AS i) AS c
JOIN sla_policy p ON p.code = 'process-deadline'
"""
# Other clocks become due before each round: their warning was reached a minute ago.
MAKE_DUE = """
UPDATE sla_clock SET warn_at = now() - interval '1 minute', next_fire_at = now() - interval '1 minute'
WHERE id IN (SELECT id FROM sla_clock WHERE next_threshold = 'warning' ORDER BY record_id LIMIT $1)
"""
RAW_SWEEP = """
WITH due AS (
    SELECT id, generation, warn_at, due_at FROM sla_clock WHERE next_fire_at <= now()
    ORDER BY next_fire_at LIMIT $1 FOR UPDATE SKIP LOCKED
), recorded AS (
    INSERT INTO sla_event (id, row_version, created_at, updated_at, clock_id, generation, threshold, at, fired_at,
                           notified)
    SELECT uuidv7(), 1, now(), now(), id, generation, 'warning', warn_at, now(), true FROM due
    ON CONFLICT (clock_id, generation, threshold) DO NOTHING
    RETURNING id, clock_id
), moved AS (
    UPDATE sla_clock c SET next_threshold = 'breach', next_fire_at = due.due_at, warned_at = due.warn_at,
           row_version = c.row_version + 1, updated_at = now()
    FROM due WHERE c.id = due.id
)
SELECT recorded.id, clock_id, pg_notify('steps_live', 'entity:sla_clock') FROM recorded
"""
# The same clocks, each with a schedule of its own: two thresholds before the breach and one after it.
GIVE_SCHEDULES = """
UPDATE sla_clock SET next_threshold = 'half', schedule = jsonb_build_array(
    jsonb_build_array('half', warn_at), jsonb_build_array('warning', due_at - interval '10 minutes'),
    jsonb_build_array('breach', due_at), jsonb_build_array('lead', due_at + interval '1 hour'))
WHERE id IN (SELECT id FROM sla_clock WHERE next_threshold = 'warning' ORDER BY record_id LIMIT $1)
"""
MAKE_SCHEDULED_DUE = """
UPDATE sla_clock SET next_fire_at = now() - interval '1 minute',
       schedule = jsonb_set(schedule, '{0,1}', to_jsonb(now() - interval '1 minute'))
WHERE id IN (SELECT id FROM sla_clock WHERE next_threshold = 'half' ORDER BY record_id LIMIT $1)
"""
RAW_IDLE = "SELECT id FROM sla_clock WHERE next_fire_at <= now() ORDER BY next_fire_at LIMIT $1 FOR UPDATE SKIP LOCKED"


def say(name: str, ours: float, raw: float | None, unit: str, target: float, *, absolute: bool = False) -> None:
    """`target` is for the ratio of ours to raw, or for ours alone where it is `absolute`."""
    line: dict[str, Any] = {"name": name, "ours": round(ours, 3), "unit": unit}
    if raw is not None:
        line |= {"raw": round(raw, 3), "ratio": round(ours / raw, 3)}
    reached = ours if absolute or raw is None else ours / raw
    print(json.dumps({**line, "target": target, "met": reached <= target}), flush=True)


async def timed(work: Callable[[], Awaitable[Any]]) -> float:
    began = time.perf_counter()
    await work()
    return (time.perf_counter() - began) * 1e3


async def raw_sweep(raw: "asyncpg.Connection[Any]") -> None:
    async with raw.transaction():
        assert len(await raw.fetch(RAW_SWEEP, DUE)) == DUE


async def raw_idle(raw: "asyncpg.Connection[Any]") -> None:
    async with raw.transaction():
        assert not await raw.fetch(RAW_IDLE, DUE)


async def our_sweep(runtime: Runtime) -> None:
    assert (await sweep(runtime)).recorded == DUE


async def open_clocks(runtime: Runtime, raw: "asyncpg.Connection[Any]", count: int) -> None:
    async with runtime.uow(SYSTEM) as uow:
        await ensure_shipped_policies(uow)
    await raw.execute(OPEN_CLOCKS, count)
    await raw.execute("VACUUM (ANALYZE) sla_clock")


async def due_of_many(runtime: Runtime, raw: "asyncpg.Connection[Any]", count: int) -> None:
    ours, bare = [], []
    for number in range(ROUNDS + 1):
        await raw.execute(MAKE_DUE, DUE)
        mine = await timed(lambda: our_sweep(runtime))
        await raw.execute(MAKE_DUE, DUE)
        theirs = await timed(lambda: raw_sweep(raw))
        if number:  # the first round prepares the statements
            ours.append(mine)
            bare.append(theirs)
    say(f"sweep of {DUE:,} due among {count:,}", statistics.median(ours), statistics.median(bare), "ms", 2)
    await raw.execute(GIVE_SCHEDULES, DUE * (ROUNDS + 1))
    scheduled = []
    for number in range(ROUNDS + 1):
        await raw.execute(MAKE_SCHEDULED_DUE, DUE)
        mine = await timed(lambda: our_sweep(runtime))
        if number:
            scheduled.append(mine)
    both = statistics.median(scheduled), statistics.median(bare)
    say(f"sweep of {DUE:,} due with four thresholds each among {count:,}", *both, "ms", 3)
    idle = [await timed(lambda: sweep(runtime)) for _ in range(TICKS)]
    bare = [await timed(lambda: raw_idle(raw)) for _ in range(TICKS)]
    say(f"idle tick among {count:,}", statistics.median(idle), statistics.median(bare), "ms", 1, absolute=True)


async def late_processes(runtime: Runtime) -> None:
    """A thousand processes of twenty runs become late at once; two people and the lead are told, by mail as well."""
    await _bank(runtime)
    processes = [
        {"code": f"p{n}", "label": f"Process {n}", "kind": "manual", "owner_role": "preparer",
         "deadline": "BD+0 18:00 Europe/Berlin"}
        for n in range(50)
    ]  # fmt: skip
    stage = {"code": "s", "label": "Stage", "processes": processes}
    definition = {"code": "W", "label": "Close", "application": "PNL", "calendar": "TARGET", "stages": [stage]}
    async with runtime.uow(SYSTEM, now=MORNING) as uow:
        await publish(uow, version_id=await save_draft(uow, definition=read_workflow(definition)))
        for number in range(20):
            await create_run(uow, workflow="W", business_date=DAY, variant=str(number))
    late = MORNING + timedelta(days=1)
    began = time.perf_counter()
    result = await sweep(runtime, now=late)
    taken = time.perf_counter() - began
    assert result.announced == 1_000
    say("1,000 late processes recorded and announced by one worker", taken, None, "s", 3)


async def _bank(runtime: Runtime) -> None:
    week = {str(weekday): [["09:00", "18:00"]] for weekday in range(5)}
    async with runtime.uow(SYSTEM, now=MORNING - timedelta(days=1)) as uow:

        async def add(entity: str, **values: Any) -> Any:
            stamp = {"id": uuid7(), "row_version": 1, "created_at": uow.now, "updated_at": uow.now}
            await uow.execute(insert(uow.table(entity)).values(**stamp, **values))
            return stamp["id"]

        application = await add("application", code="PNL", label="PnL", active=True)
        calendar = await add("calendar", code="TARGET", label="TARGET", zone="Europe/Berlin")
        await add("calendar_version", calendar_id=calendar, number=1, state="published", weekly_windows=week)
        roles = {code: await add("role", code=code, label=code) for code in ("preparer", "operations")}
        for name, role in (("a", "preparer"), ("b", "preparer"), ("c", "operations")):
            user = await add(
                "user", email=f"{name}@bank.example", name=name, account_kind="person", active=True,
                must_change_password=False, failed_sign_ins=0,
            )  # fmt: skip
            await add("role_grant", user_id=user, role_id=roles[role], application_id=application, valid_from=uow.now)


async def measure(settings: Settings, count: int) -> None:
    assert settings.database_url is not None
    await upgrade_async(settings.database_url)
    runtime = await build(settings)
    raw = await asyncpg.connect(asyncpg_dsn(runtime.engine))
    try:
        await late_processes(runtime)
        await open_clocks(runtime, raw, count)
        await due_of_many(runtime, raw, count)
    finally:
        await raw.close()
        await runtime.aclose()


def main() -> None:
    """Measure on a server of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clocks", type=int, default=CLOCKS, help=f"open clocks, {CLOCKS:,} by default")
    arguments, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="steps-bench-") as folder:
        given = {"data_dir": Path(folder), "demo": False, "secret_key": "k" * 48}
        with start_embedded(Settings(**given), durable=False) as servers:  # type: ignore[arg-type]
            addresses = {"database_url": servers.database_url, "redis_url": servers.redis_url}
            asyncio.run(measure(Settings(**given, **addresses), arguments.clocks))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
