"""The outbox: jobs written in the transaction that wants them, taken under a lease by the worker that does them.

PostgreSQL is the truth. The queue in Redis only says "look at this row": a row that was announced and not taken is
announced again, and one whose lease ran out too. Leases, back-off and retention count in real time, which a shifted
demo clock does not touch. `attempt` grows with every claim and is the fencing token: only the latest claim may end
the row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, Integer, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.core.uow import UnitOfWork
from app.domain.jobs.backoff import OUTBOX_BASE_SECONDS, backoff
from app.domain.jobs.errors import LeaseLost

ERROR_LENGTH = 2_000


@dataclass(frozen=True, slots=True)
class OutboxClaim:
    """The right to do one job, until the lease ends or a later claim replaces it."""

    id: UUID
    job: str
    payload: Mapping[str, Any]
    attempt: int
    max_attempts: int
    correlation_id: UUID
    lease: timedelta  # for how long it is held without being renewed


@dataclass(frozen=True, slots=True)
class Announcement:
    """A row to announce; the two together name the delivery."""

    id: UUID
    attempt: int

    @property
    def delivery(self) -> str:
        return f"{self.id}:{self.attempt}"


# What nobody works on and nobody has announced since it became free. `relayed_at < lease_until` means: announced,
# taken, and the lease has run out since.
_CLAIM_FOR_RELAY = text(
    """
UPDATE outbox SET relayed_at = clock_timestamp()
WHERE id IN (
    SELECT id FROM outbox
    WHERE done_at IS NULL AND failed_at IS NULL AND available_at <= clock_timestamp() AND attempt < max_attempts
      AND (lease_until IS NULL OR lease_until < clock_timestamp())
      AND (relayed_at IS NULL OR relayed_at < lease_until
           OR relayed_at < coalesce(CAST(:before AS timestamptz), clock_timestamp() - make_interval(secs => :silence)))
    ORDER BY available_at
    LIMIT :limit
    FOR UPDATE SKIP LOCKED)
RETURNING id, attempt
"""
).bindparams(bindparam("before", type_=DateTime(timezone=True)))

# Whoever locks many rows locks them in the order of their ids, so that two of them never wait for each other. A claim
# waits for a row that is being announced rather than pass it by: nobody would announce it again for minutes.
_CLAIM = text(
    """
WITH free AS (
    SELECT id FROM outbox
    WHERE id = ANY (:ids) AND done_at IS NULL AND failed_at IS NULL AND available_at <= clock_timestamp()
      AND attempt < max_attempts AND (lease_until IS NULL OR lease_until < clock_timestamp())
    ORDER BY id FOR UPDATE)
UPDATE outbox
SET attempt = attempt + 1, lease_until = clock_timestamp() + make_interval(secs => :lease),
    relayed_at = coalesce(relayed_at, clock_timestamp())
FROM free WHERE outbox.id = free.id
RETURNING outbox.id, job, payload, attempt, max_attempts, correlation_id
"""
).bindparams(bindparam("ids", type_=ARRAY(Uuid)))

_HELD = """
WITH held AS (
    SELECT outbox.id FROM outbox JOIN unnest(:ids, :attempts) AS given (id, attempt)
        ON outbox.id = given.id AND outbox.attempt = given.attempt
    WHERE done_at IS NULL AND failed_at IS NULL
    ORDER BY outbox.id FOR UPDATE OF outbox)
"""
_KEEP = text(
    _HELD
    + """
UPDATE outbox SET lease_until = clock_timestamp() + make_interval(secs => :lease)
FROM held WHERE outbox.id = held.id
RETURNING outbox.id
"""
).bindparams(bindparam("ids", type_=ARRAY(Uuid)), bindparam("attempts", type_=ARRAY(Integer)))

_COMPLETE = text(
    _HELD
    + """
UPDATE outbox SET done_at = clock_timestamp(), lease_until = NULL, error = NULL
FROM held WHERE outbox.id = held.id
RETURNING outbox.id
"""
).bindparams(bindparam("ids", type_=ARRAY(Uuid)), bindparam("attempts", type_=ARRAY(Integer)))

_FAIL = text(
    """
UPDATE outbox
SET error = :error, lease_until = NULL, relayed_at = NULL,
    available_at = clock_timestamp() + make_interval(secs => :pause),
    failed_at = CASE WHEN :final OR attempt >= max_attempts THEN clock_timestamp() END
WHERE id = :id AND attempt = :attempt AND done_at IS NULL AND failed_at IS NULL
RETURNING failed_at IS NOT NULL AS failed
"""
).bindparams(bindparam("id", type_=Uuid))

# Giving a row back is no failure: the attempt it used is given back with it, while the token stays unique.
_RELEASE = text(
    """
UPDATE outbox
SET lease_until = NULL, relayed_at = NULL, max_attempts = max_attempts + 1,
    available_at = greatest(clock_timestamp(), coalesce(CAST(:until AS timestamptz), clock_timestamp()))
WHERE id = :id AND attempt = :attempt AND done_at IS NULL AND failed_at IS NULL
"""
).bindparams(bindparam("id", type_=Uuid), bindparam("until", type_=DateTime(timezone=True)))

_GIVE_UP_LOST = text(
    """
UPDATE outbox
SET failed_at = clock_timestamp(), error = 'The worker was lost during the last of ' || max_attempts || ' attempts.'
WHERE id IN (
    SELECT id FROM outbox
    WHERE done_at IS NULL AND failed_at IS NULL AND attempt >= max_attempts AND lease_until < clock_timestamp()
    FOR UPDATE SKIP LOCKED)
"""
)


async def claim_for_relay(
    uow: UnitOfWork, *, limit: int, silence: timedelta, announced_before: datetime | None = None
) -> Sequence[Announcement]:
    """Mark up to `limit` rows as announced and return them, oldest first.

    `silence`: after how long an announced row that nobody took is announced again; `announced_before` (real time)
    replaces it where the queue is known to have been lost then.
    """
    rows = await uow.execute(
        _CLAIM_FOR_RELAY, {"limit": limit, "silence": silence.total_seconds(), "before": announced_before}
    )
    return [Announcement(row.id, row.attempt) for row in rows]


async def claim(uow: UnitOfWork, *, outbox_ids: Sequence[UUID], lease: timedelta) -> dict[UUID, OutboxClaim]:
    """Take the rows for `lease`; left out is what is done, failed, held by another worker or not due yet."""
    rows = await uow.execute(_CLAIM, {"ids": list(outbox_ids), "lease": lease.total_seconds()})
    return {row["id"]: OutboxClaim(**row, lease=lease) for row in rows.mappings()}


async def keep(uow: UnitOfWork, *, claims: Sequence[OutboxClaim], lease: timedelta) -> frozenset[UUID]:
    """Renew the leases and return the ids that are still held; the others belong to somebody else by now."""
    rows = await uow.execute(_KEEP, {**_tokens(claims), "lease": lease.total_seconds()})
    return frozenset(rows.scalars())


async def complete(uow: UnitOfWork, claimed: OutboxClaim) -> None:
    """End the row in the transaction of the job's own effects.

    Raises:
        LeaseLost: a later claim has replaced this one; nothing of this transaction may stay.
    """
    if not await ensure_completed(uow, claims=[claimed]):
        raise LeaseLost(f"Job {claimed.job} has been taken over by another worker.")


async def ensure_completed(uow: UnitOfWork, *, claims: Sequence[OutboxClaim]) -> frozenset[UUID]:
    """End the rows that these claims still hold; return which ones it ended."""
    rows = await uow.execute(_COMPLETE, _tokens(claims))
    return frozenset(rows.scalars())


async def fail(uow: UnitOfWork, claimed: OutboxClaim, *, error: str, final: bool = False) -> bool:
    """Record why the attempt failed and let it come back after a pause; return whether it will not come back.

    `final`: trying again would not help.
    """
    pause = backoff(base_seconds=OUTBOX_BASE_SECONDS, failures=claimed.attempt)
    row = (
        await uow.execute(
            _FAIL,
            {
                "id": claimed.id,
                "attempt": claimed.attempt,
                "error": error[:ERROR_LENGTH],
                "pause": pause.total_seconds(),
                "final": final,
            },
        )
    ).one_or_none()
    return row is not None and bool(row.failed)


async def release(uow: UnitOfWork, claimed: OutboxClaim, *, until: datetime | None = None) -> None:
    """Give the row back undone, for another worker to take now or at `until` (real time)."""
    await uow.execute(_RELEASE, {"id": claimed.id, "attempt": claimed.attempt, "until": until})


async def give_up_lost(uow: UnitOfWork) -> int:
    """Fail the rows whose worker was lost during the last attempt; return how many there were."""
    return int((await uow.execute(_GIVE_UP_LOST)).rowcount)


def _tokens(claims: Sequence[OutboxClaim]) -> dict[str, Any]:
    return {"ids": [claimed.id for claimed in claims], "attempts": [claimed.attempt for claimed in claims]}
