"""The workflow engine against bare SQL that writes the same rows: run creation, cost per completion, transitions.

Run with `python -m bench.workflow`, `--large` for a run of 100,000 processes too; prints one JSON object a line.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from app.bootstrap import Runtime, build
from app.core.actor import Actor, Grant, system_actor
from app.core.db import asyncpg_dsn
from app.core.embedded import start_embedded
from app.core.migrations import upgrade_async
from app.core.settings import Settings
from app.domain.workflow.runs import create_run
from app.domain.workflow.transitions import transition
from models.base import uuid7

SIZE = 10_000
SMALL = 100
LARGE = 100_000
ROUNDS = 5
STEPS = 60  # completions a round, of each run
SYSTEM = system_actor("Bench")
FIRST_DAY = date(2026, 1, 5)

BASE = """
WITH a AS (
    INSERT INTO application (id, code, label, active, created_at, updated_at)
    VALUES (uuidv7(), 'PNL', 'PNL', true, now(), now()) RETURNING id
), c AS (
    INSERT INTO calendar (id, code, label, zone, created_at, updated_at)
    VALUES (uuidv7(), 'TARGET', 'TARGET', 'Europe/Berlin', now(), now()) RETURNING id
), v AS (
    INSERT INTO calendar_version (id, calendar_id, number, state, weekly_windows, created_at, updated_at)
    SELECT uuidv7(), id, 1, 'published', '{"0": [["09:00", "18:00"]], "1": [["09:00", "18:00"]],
           "2": [["09:00", "18:00"]], "3": [["09:00", "18:00"]], "4": [["09:00", "18:00"]]}', now(), now() FROM c
), w AS (
    INSERT INTO workflow (id, code, label, application_id, calendar_id, active, created_at, updated_at)
    SELECT uuidv7(), 'W' || size, 'W', a.id, c.id, true, now(), now() FROM a, c, unnest($1::int[]) AS size
    RETURNING id
)
INSERT INTO workflow_version (id, workflow_id, number, state, created_at, updated_at)
SELECT uuidv7(), id, 1, 'draft', now(), now() FROM w
"""
# A process waits for the one before it and the one ten before it; every tenth begins by itself.
DEFINITION = """
WITH v AS (
    SELECT v.id FROM workflow_version v JOIN workflow w ON w.id = v.workflow_id WHERE w.code = 'W' || $1::int
), s AS (
    INSERT INTO stage (id, version_id, path, code, label, rank, created_at, updated_at)
    SELECT i.id, v.id, CAST(replace(CAST(i.id AS text), '-', '') AS ltree), 's' || i.n, 'Stage', i.n,
           now(), now()
    FROM v, generate_series(1, 10) n, LATERAL (SELECT uuidv7() AS id, n) i
    RETURNING id, rank, version_id
), p AS (
    INSERT INTO process (id, version_id, stage_id, code, label, rank, kind, owner_role, deadline, warn_minutes,
                         expected_minutes, critical, require_comment, skip_allowed, max_attempts, backoff_seconds,
                         created_at, updated_at)
    SELECT uuidv7(), s.version_id, s.id, 'p' || n, 'Process', n, 'manual', 'preparer', 'BD+0 18:00 Europe/Berlin', 30,
           10, false, false, false, 3, 10, now(), now()
    FROM generate_series(1, $1::int) n JOIN s ON s.rank = 1 + n % 10
    RETURNING id, rank, version_id
)
INSERT INTO process_dependency (id, version_id, predecessor_id, successor_id, edge_type, hardness, accepts,
                                created_at, updated_at)
SELECT uuidv7(), b.version_id, a.id, b.id, 'FS', 'hard', '{done,skipped}', now(), now()
FROM p b CROSS JOIN LATERAL (VALUES (b.rank - 1), (b.rank - 10)) AS before (rank) JOIN p a ON a.rank = before.rank
WHERE b.rank % 10 <> 1
"""
PUBLISH = "UPDATE workflow_version SET state = 'published'"
RAW_RUN = """
INSERT INTO workflow_run (id, reference, label, workflow_id, version_id, application_id, business_date, variant, state,
                          process_count, open_count, started_at, created_at, updated_at)
SELECT $1, 'RAW-' || $2::date, w.label, w.id, v.id, w.application_id, $2, 'raw', 'active', $3::int, $3::int,
       now(), now(), now()
FROM workflow w JOIN workflow_version v ON v.workflow_id = w.id WHERE w.code = 'W' || $3::int
"""
RAW_STAGES = """
INSERT INTO stage_run (id, run_id, stage_id, code, label, depth, rank, created_at, updated_at)
SELECT uuidv7(), r.id, s.id, s.code, s.label, 0, s.rank, now(), now()
FROM workflow_run r JOIN stage s ON s.version_id = r.version_id WHERE r.id = $1
"""
RAW_PROCESSES = """
INSERT INTO process_run (id, run_id, stage_run_id, process_id, code, label, kind, state, application_id, owner_role,
                         critical, rank, waiting_on, round, attempt, level, levels, expected_minutes,
                         created_at, updated_at)
SELECT uuidv7(), r.id, s.id, p.id, p.code, p.label, p.kind, 'blocked', r.application_id, p.owner_role, p.critical,
       p.rank, 0, 1, 0, 0, 0, p.expected_minutes, now(), now()
FROM workflow_run r JOIN process p ON p.version_id = r.version_id
JOIN stage_run s ON s.run_id = r.id AND s.stage_id = p.stage_id WHERE r.id = $1
"""
RAW_EDGES = """
INSERT INTO process_edge (id, run_id, predecessor_id, successor_id, edge_type, hardness, accepts, created_at,
                          updated_at)
SELECT uuidv7(), r.id, a.id, b.id, d.edge_type, d.hardness, d.accepts, now(), now()
FROM workflow_run r JOIN process_dependency d ON d.version_id = r.version_id
JOIN process_run a ON a.run_id = r.id AND a.process_id = d.predecessor_id
JOIN process_run b ON b.run_id = r.id AND b.process_id = d.successor_id WHERE r.id = $1
"""
RAW_CLOCKS = """
INSERT INTO sla_clock (id, policy_id, record_entity, record_id, label, application_id, measure, state, started_at,
                       warn_minutes, due_at, next_fire_at, next_threshold, generation, created_at, updated_at)
SELECT uuidv7(), s.id, 'process_run', p.id, p.label, p.application_id, 'deadline', 'running', now(), 30, now(), now(),
       'warning', 1, now(), now()
FROM process_run p, sla_policy s WHERE p.run_id = $1 AND s.code = 'process-deadline'
"""
RAW_LOCK = """
SELECT p.*, r.open_count, d.kind FROM process_run p JOIN workflow_run r ON r.id = p.run_id
JOIN process d ON d.id = p.process_id WHERE p.id = $1 FOR NO KEY UPDATE OF r, p
"""
RAW_COMPLETE = """
WITH changed AS (
    UPDATE process_run SET state = 'done', finished_at = now(), submitted_at = now(), started_at = now(), maker_id = $2,
        assignee_id = $2, row_version = row_version + 1, updated_at = now(), updated_by = $2 WHERE id = $1
), logged AS (
    INSERT INTO process_transition (id, process_run_id, name, from_state, to_state, actor_id, at, round, attempt, level,
                                    created_at, updated_at)
    VALUES (uuidv7(), $1, 'submit', 'ready', 'done', $2, now(), 1, 0, 0, now(), now())
), passed AS (
    UPDATE process_edge SET satisfied_at = now() WHERE predecessor_id = $1 AND satisfied_at IS NULL
    RETURNING successor_id
), moved AS (
    UPDATE process_run s SET waiting_on = s.waiting_on - 1, row_version = s.row_version + 1,
        state = CASE WHEN s.waiting_on = 1 THEN 'ready' ELSE s.state END,
        ready_at = CASE WHEN s.waiting_on = 1 THEN now() ELSE s.ready_at END
    FROM passed WHERE s.id = passed.successor_id RETURNING s.id, s.state
), released AS (
    INSERT INTO process_transition (id, process_run_id, name, from_state, to_state, at, round, attempt, level,
                                    created_at, updated_at)
    SELECT uuidv7(), id, 'release', 'blocked', 'ready', now(), 1, 0, 0, now(), now() FROM moved WHERE state = 'ready'
), counted AS (
    UPDATE workflow_run SET open_count = open_count - 1, updated_at = now() WHERE id = $3
), clock AS (
    UPDATE sla_clock SET state = 'stopped', stopped_at = now(), next_fire_at = NULL, row_version = row_version + 1
    WHERE record_entity = 'process_run' AND record_id = $1
), audited AS (
    INSERT INTO audit_entry (id, at, actor_id, actor_name, command, entity, record_id, before, after, correlation_id)
    VALUES (uuidv7(), now(), $2, 'Bench', 'transition:submit', 'process_run', $1, '{"state": "ready"}',
            '{"state": "done"}', uuidv7())
)
SELECT pg_notify('steps_live', $4)
"""
INSERT_USER = """
INSERT INTO app_user (id, email, name, account_kind, active, must_change_password, failed_sign_ins, created_at,
                      updated_at)
VALUES ($1, 'bench@bank.example', 'Bench', 'person', true, false, 0, now(), now())
"""
READY = "SELECT id FROM process_run WHERE run_id = $1 AND state = 'ready' ORDER BY rank"

Raw = Any  # a pool; asyncpg carries no types


def say(name: str, ours: float, raw: float, unit: str, *, better: str, target: float) -> None:
    """`ratio` is ours to raw; `better` says which way."""
    ratio = ours / raw
    met = ratio <= target if better == "lower" else ratio >= target
    line = {"name": name, "ours": round(ours, 3), "raw": round(raw, 3), "unit": unit, "ratio": round(ratio, 3)}
    print(json.dumps({**line, "target": target, "met": met}), flush=True)


async def _timed(work: Awaitable[Any]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def ours_run(runtime: Runtime, size: int, day: date) -> UUID:
    async with runtime.uow(SYSTEM, now=datetime(2026, 1, 1, tzinfo=UTC)) as uow:
        return await create_run(uow, workflow=f"W{size}", business_date=day)


async def raw_run(raw: Raw, size: int, day: date, *, clocks: bool) -> None:
    run_id = uuid7()
    async with raw.acquire() as connection, connection.transaction():
        await connection.execute(RAW_RUN, run_id, day, size)
        for statement in (RAW_STAGES, RAW_PROCESSES, RAW_EDGES, *([RAW_CLOCKS] if clocks else [])):
            await connection.execute(statement, run_id)


async def creation(runtime: Runtime, raw: Raw) -> None:
    await ours_run(runtime, SMALL, FIRST_DAY - timedelta(days=1))  # what is made once is there
    ours, bare, same = [], [], []
    for number in range(ROUNDS):
        day = FIRST_DAY + timedelta(days=3 * number)
        ours.append(await _timed(ours_run(runtime, SIZE, day)))
        bare.append(await _timed(raw_run(raw, SIZE, day + timedelta(days=1), clocks=False)))
        same.append(await _timed(raw_run(raw, SIZE, day + timedelta(days=2), clocks=True)))
    mine = statistics.median(ours)
    say(f"create a run of {SIZE:,}", mine, statistics.median(bare), "s", better="lower", target=3)
    say(f"create a run of {SIZE:,}, raw with clocks", mine, statistics.median(same), "s", better="lower", target=3)


async def complete(runtime: Runtime, actor: Actor, process_run_id: UUID) -> None:
    async with runtime.uow(actor) as uow:
        await transition(uow, process_run_id=process_run_id, name="submit", expected_version=None)


async def raw_complete(raw: Raw, actor: Actor, process_run_id: UUID) -> None:
    async with raw.acquire() as connection, connection.transaction():
        row = await connection.fetchrow(RAW_LOCK, process_run_id)
        await connection.execute(RAW_COMPLETE, process_run_id, actor.id, row["run_id"], f"run:{row['run_id']}")


async def cascade(raw: Raw, run_id: UUID, steps: int, do: Callable[[UUID], Awaitable[None]]) -> list[float]:
    """Complete what is ready, again and again; seconds of each."""
    taken: list[float] = []
    ready: list[UUID] = []
    while len(taken) < steps:
        ready = ready or [row["id"] for row in await raw.fetch(READY, run_id)]
        taken.append(await _timed(do(ready.pop(0))))
    return taken


async def flatness(runtime: Runtime, raw: Raw, actor: Actor, sizes: Sequence[int]) -> None:
    day = date(2026, 6, 1)
    runs = {size: await ours_run(runtime, size, day) for size in sizes}
    await raw.execute("ANALYZE")
    taken: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(3):  # interleaved, so that a busy moment meets each of them
        for size, run_id in runs.items():
            taken[size] += await cascade(raw, run_id, 30, lambda id_: complete(runtime, actor, id_))
    small = statistics.median(taken[SMALL]) * 1e3
    for size in sizes[1:]:
        name = f"completion in a run of {size:,} against one of {SMALL}"
        say(name, statistics.median(taken[size]) * 1e3, small, "ms", better="lower", target=1.2)


async def transitions(runtime: Runtime, raw: Raw, actor: Actor, clients: int, target: float) -> None:
    """The same completions by both, each client in runs of its own; rounds interleaved."""
    start = date(2027, 1, 1) + timedelta(days=clients * 50)
    runs = [await ours_run(runtime, 1_000, start + timedelta(days=n)) for n in range(2 * clients)]
    await raw.execute("ANALYZE process_run, process_edge, sla_clock, workflow_run")
    ours, bare = [], []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        mine = [cascade(raw, run, STEPS, lambda id_: complete(runtime, actor, id_)) for run in runs[:clients]]
        await asyncio.gather(*mine)
        ours.append(clients * STEPS / (time.perf_counter() - began))
        began = time.perf_counter()
        theirs = [cascade(raw, run, STEPS, lambda id_: raw_complete(raw, actor, id_)) for run in runs[clients:]]
        await asyncio.gather(*theirs)
        bare.append(clients * STEPS / (time.perf_counter() - began))
    name = f"process transition, c{clients}"
    # The first round is for connections and plans to become warm.
    say(name, statistics.median(ours[1:]), statistics.median(bare[1:]), "a second", better="higher", target=target)


async def measure(settings: Settings, *, large: bool) -> None:
    assert settings.database_url is not None
    await upgrade_async(settings.database_url)
    runtime = await build(settings, pool_size=20)
    raw = await asyncpg.create_pool(asyncpg_dsn(runtime.engine), min_size=16, max_size=20)
    try:
        user_id = uuid7()
        await raw.execute(INSERT_USER, user_id)
        actor = Actor(user_id, "Bench", grants=(Grant(uuid7(), "preparer", "PNL"),))
        sizes = [SMALL, 1_000, SIZE, *([LARGE] if large else [])]
        await raw.execute(BASE, sizes)
        for size in sizes:
            await raw.execute(DEFINITION, size)
        await raw.execute(PUBLISH)
        await raw.execute("ANALYZE")
        await creation(runtime, raw)
        await flatness(runtime, raw, actor, [SMALL, SIZE, *([LARGE] if large else [])])
        await transitions(runtime, raw, actor, 1, 0.5)
        await transitions(runtime, raw, actor, 16, 0.4)
    finally:
        await raw.close()
        await runtime.aclose()


def main() -> None:
    """Measure on a server of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help=f"also a run of {LARGE:,} processes")
    arguments, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="steps-bench-") as folder:
        given = {"data_dir": Path(folder), "demo": False, "secret_key": "k" * 48}
        with start_embedded(Settings(**given), durable=False) as servers:  # type: ignore[arg-type]
            addresses = {"database_url": servers.database_url, "redis_url": servers.redis_url}
            asyncio.run(measure(Settings(**given, **addresses), large=arguments.large))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
