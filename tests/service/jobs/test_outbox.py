"""The outbox: leases, fencing, back-off and what is announced."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.bootstrap import Runtime
from app.domain.jobs import outbox
from app.domain.jobs.errors import LeaseLost
from app.domain.jobs.outbox import OutboxClaim
from app.domain.jobs.queries import Backlog, backlog
from app.domain.jobs.retention import clear_old, first_id_at
from models.base import uuid7
from tests.factories import SYSTEM
from tests.service.jobs.work import outbox_rows, run_sql

LEASE = timedelta(seconds=20)
SILENCE = timedelta(minutes=2)


async def enqueued(runtime: Runtime, *, delay: timedelta = timedelta(0), max_attempts: int = 5) -> UUID:
    async with runtime.uow(SYSTEM) as uow:
        return uow.enqueue("greet", {"name": "Ada"}, delay=delay, max_attempts=max_attempts)


async def claimed(runtime: Runtime, outbox_id: UUID) -> OutboxClaim | None:
    async with runtime.uow(SYSTEM) as uow:
        return (await outbox.claim(uow, outbox_ids=[outbox_id], lease=LEASE)).get(outbox_id)


async def surely_claimed(runtime: Runtime, outbox_id: UUID) -> OutboxClaim:
    claim = await claimed(runtime, outbox_id)
    assert claim is not None
    return claim


async def announced(runtime: Runtime, **options: datetime | None) -> list[str]:
    async with runtime.uow(SYSTEM) as uow:
        rows = await outbox.claim_for_relay(uow, limit=100, silence=SILENCE, **options)
    return [row.delivery for row in rows]


async def let_lease_end(runtime: Runtime, outbox_id: UUID) -> None:
    await run_sql(
        runtime, "UPDATE outbox SET lease_until = clock_timestamp() - interval '1 ms' WHERE id = :id", id=outbox_id
    )


async def test_a_row_is_taken_once_and_done_once(runtime: Runtime) -> None:
    outbox_id = await enqueued(runtime)
    claim = await surely_claimed(runtime, outbox_id)
    assert (claim.job, claim.payload, claim.attempt) == ("greet", {"name": "Ada"}, 1)
    assert await claimed(runtime, outbox_id) is None  # held
    async with runtime.uow(SYSTEM) as uow:
        await outbox.complete(uow, claim)
    await let_lease_end(runtime, outbox_id)
    assert await claimed(runtime, outbox_id) is None  # done
    assert await announced(runtime) == []


async def test_of_twenty_workers_at_once_one_takes_the_row(runtime: Runtime) -> None:
    outbox_id = await enqueued(runtime)
    claims = await asyncio.gather(*(claimed(runtime, outbox_id) for _ in range(20)))
    assert len([claim for claim in claims if claim is not None]) == 1


async def test_a_worker_whose_lease_ran_out_cannot_complete(runtime: Runtime) -> None:
    outbox_id = await enqueued(runtime)
    zombie = await surely_claimed(runtime, outbox_id)
    await let_lease_end(runtime, outbox_id)
    successor = await surely_claimed(runtime, outbox_id)
    assert successor.attempt == 2
    with pytest.raises(LeaseLost):
        async with runtime.uow(SYSTEM) as uow:
            await outbox.complete(uow, zombie)
    async with runtime.uow(SYSTEM) as uow:
        assert await outbox.keep(uow, claims=[zombie, successor], lease=LEASE) == {outbox_id}
        assert await outbox.keep(uow, claims=[zombie], lease=LEASE) == frozenset()
        await outbox.complete(uow, successor)


async def test_a_failure_waits_longer_each_time_and_ends_after_the_last_attempt(runtime: Runtime) -> None:
    outbox_id = await enqueued(runtime, max_attempts=3)
    pauses = []
    for last in (False, False, True):
        claim = await surely_claimed(runtime, outbox_id)
        async with runtime.uow(SYSTEM) as uow:
            assert await outbox.fail(uow, claim, error="no") is last
        (row,) = await outbox_rows(runtime)
        pauses.append(round((row["available_at"] - row["real_now"]).total_seconds()))
        assert await claimed(runtime, outbox_id) is None  # not before its time
        await run_sql(runtime, "UPDATE outbox SET available_at = clock_timestamp() WHERE id = :id", id=outbox_id)
    assert pauses == [2, 4, 8]
    (row,) = await outbox_rows(runtime)
    assert row["failed_at"] is not None
    assert row["error"] == "no"
    assert await claimed(runtime, outbox_id) is None


async def test_giving_a_row_back_uses_up_no_attempt(runtime: Runtime) -> None:
    outbox_id = await enqueued(runtime, max_attempts=1)
    for attempt in (1, 2, 3):
        claim = await surely_claimed(runtime, outbox_id)
        assert claim.attempt == attempt
        async with runtime.uow(SYSTEM) as uow:
            await outbox.release(uow, claim)
    assert await announced(runtime) == [f"{outbox_id}:3"]


async def test_what_was_announced_is_silent_until_its_lease_or_the_silence_is_over(runtime: Runtime) -> None:
    outbox_id = await enqueued(runtime)
    assert await announced(runtime) == [f"{outbox_id}:0"]
    assert await announced(runtime) == []
    await run_sql(runtime, "UPDATE outbox SET relayed_at = clock_timestamp() - interval '121 seconds'")
    assert await announced(runtime) == [f"{outbox_id}:0"]
    await surely_claimed(runtime, outbox_id)
    assert await announced(runtime) == []
    await let_lease_end(runtime, outbox_id)
    assert await announced(runtime) == [f"{outbox_id}:1"]  # a new name: the old delivery may still be in the queue
    assert await announced(runtime) == []


async def test_when_the_queue_was_lost_everything_that_nobody_works_on_is_announced_once_more(runtime: Runtime) -> None:
    waiting, running = await enqueued(runtime), await enqueued(runtime)
    assert len(await announced(runtime)) == 2
    await surely_claimed(runtime, running)
    lost = datetime.now(UTC)
    assert await announced(runtime, announced_before=lost) == [f"{waiting}:0"]
    assert await announced(runtime, announced_before=lost) == []


async def test_a_row_is_not_announced_before_its_time(runtime: Runtime) -> None:
    await enqueued(runtime, delay=timedelta(hours=1))
    assert await announced(runtime) == []


async def test_two_relays_at_once_share_the_rows(runtime: Runtime) -> None:
    ids = {await enqueued(runtime) for _ in range(40)}

    async def half() -> list[UUID]:
        async with runtime.uow(SYSTEM) as uow:
            rows = await outbox.claim_for_relay(uow, limit=20, silence=SILENCE)
            await asyncio.sleep(0.2)  # both transactions are open at the same time
        return [row.id for row in rows]

    first, second = await asyncio.gather(half(), half())
    assert len(first) == len(second) == 20
    assert {*first, *second} == ids


async def test_a_row_whose_last_worker_was_lost_fails(runtime: Runtime) -> None:
    outbox_id = await enqueued(runtime, max_attempts=1)
    await surely_claimed(runtime, outbox_id)
    async with runtime.uow(SYSTEM) as uow:
        assert await outbox.give_up_lost(uow) == 0
    await let_lease_end(runtime, outbox_id)
    async with runtime.uow(SYSTEM) as uow:
        assert await outbox.give_up_lost(uow) == 1
    (row,) = await outbox_rows(runtime)
    assert "lost" in row["error"]


async def test_what_is_long_done_is_cleared_and_nothing_else(runtime: Runtime) -> None:
    recent = await enqueued(runtime)
    now = datetime.now(UTC)
    old = {name: first_id_at(now - timedelta(days=days)) for name, days in (("done", 8), ("failed", 9), ("open", 400))}
    ancient_failure = first_id_at(now - timedelta(days=91))
    for id_, done, failed in (
        (old["done"], now, None),
        (old["failed"], None, now),
        (old["open"], None, None),
        (ancient_failure, None, now),
    ):
        await run_sql(
            runtime,
            "INSERT INTO outbox (id, job, payload, created_at, available_at, done_at, failed_at, correlation_id) "
            "VALUES (:id, 'x', '{}', :at, :at, CAST(:done AS timestamptz), CAST(:failed AS timestamptz), :id)",
            id=id_,
            at=now,
            done=done,
            failed=failed,
        )
    for key, age in (("old", 3), ("new", 1)):
        await run_sql(
            runtime,
            "INSERT INTO idempotency_key (actor_id, key, request_hash, created_at) VALUES (:id, :key, '', :at)",
            id=uuid7(),
            key=key,
            at=now - timedelta(days=age),
        )
    assert await clear_old(runtime) == 3
    assert {row["id"] for row in await outbox_rows(runtime)} == {recent, old["failed"], old["open"]}


async def test_the_backlog_tells_what_is_due_running_failed_and_how_old(runtime: Runtime) -> None:
    async with runtime.uow(SYSTEM) as uow:
        assert await backlog(uow) == Backlog(due=0, running=0, oldest_seconds=0.0, failed=0)
    for _ in range(2):
        await enqueued(runtime)
    await enqueued(runtime, delay=timedelta(hours=1))
    held, done, failed = [await enqueued(runtime) for _ in range(3)]
    await surely_claimed(runtime, held)
    to_complete, to_fail = await surely_claimed(runtime, done), await surely_claimed(runtime, failed)
    async with runtime.uow(SYSTEM) as uow:
        await outbox.complete(uow, to_complete)
        await outbox.fail(uow, to_fail, error="x", final=True)
    due = "available_at < clock_timestamp()"
    aged = f"UPDATE outbox SET available_at = available_at - interval '90 seconds' WHERE {due}"
    await run_sql(runtime, aged)
    async with runtime.uow(SYSTEM) as uow:
        found = await backlog(uow)
    assert (found.due, found.running, found.failed) == (3, 1, 1)
    assert 90 <= found.oldest_seconds < 150
