"""The sweep: find the clocks that have reached a threshold, record it once, announce it.

Any number of sweepers may run at once. Each claims what is due through the partial index on `next_fire_at`, so its cost
follows what is due and not what is open, and skips what another one holds. Time is the database's, so that workers with
wrong clocks agree; a simulation gives its own.

After an outage every threshold that was missed is recorded, but only the highest of a clock is announced. A clock that
cannot be fired, for whatever reason, is set aside for a while and never stands in the way of the others.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import DateTime, Integer, TextClause, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.actor import Actor, system_actor
from app.core.uow import UnitOfWork
from app.domain.sla.events import PassedThreshold, SlaThresholdsPassed

log = logging.getLogger("steps.sla")

BATCH = 1_000
SET_ASIDE = timedelta(minutes=5)


class Platform(Protocol):
    """What gives units of work; `app.bootstrap.Runtime` is one."""

    @property
    def engine(self) -> AsyncEngine: ...

    def uow(self, actor: Actor, *, now: datetime | None = None) -> UnitOfWork: ...


@dataclass(frozen=True, slots=True)
class SweepResult:
    """`recorded` thresholds of `clocks`; `announced` of them were made known; `set_aside` clocks could not be fired."""

    clocks: int = 0
    recorded: int = 0
    announced: int = 0
    set_aside: int = 0

    def __add__(self, other: "SweepResult") -> "SweepResult":
        return SweepResult(
            self.clocks + other.clocks,
            self.recorded + other.recorded,
            self.announced + other.announced,
            self.set_aside + other.set_aside,
        )


_MOMENT = "coalesce(:now, steps_now())"

# What a clock announces is in its schedule, in order; without one it is the warning and the breach. Everything from
# `next_threshold` on has not fired. `once` keeps a threshold that is recorded already from being recorded or announced
# again, whatever the clock's row says.
_FIRE = """
WITH moment AS MATERIALIZED (
    SELECT {moment} AS now
), due AS MATERIALIZED (
    SELECT id, policy_id, generation, next_threshold, warn_at, due_at, started_at, record_entity, record_id, schedule
    FROM sla_clock
    WHERE next_fire_at IS NOT NULL AND next_fire_at <= (SELECT now FROM moment) {which}
    ORDER BY next_fire_at
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
), point AS MATERIALIZED (
    SELECT due.id, n, threshold, at,
           max(n) FILTER (WHERE threshold = next_threshold) OVER (PARTITION BY due.id) AS first
    FROM due CROSS JOIN LATERAL (
        SELECT n, threshold, at FROM (VALUES (1, 'warning', warn_at), (2, 'breach', due_at)) AS v (n, threshold, at)
        WHERE schedule IS NULL
        UNION ALL
        SELECT n, item ->> 0, CAST(item ->> 1 AS timestamptz)
        FROM jsonb_array_elements(schedule) WITH ORDINALITY AS e (item, n)
    ) AS t
), reached AS MATERIALIZED (
    SELECT id, n, threshold, at, n = max(n) OVER (PARTITION BY id) AS highest
    FROM point WHERE n >= first AND at <= (SELECT now FROM moment)
), following AS (
    SELECT DISTINCT ON (id) id, threshold, at
    FROM point WHERE n >= first AND at > (SELECT now FROM moment) ORDER BY id, n
), recorded AS (
    INSERT INTO sla_event (id, row_version, created_at, created_by, updated_at, updated_by, clock_id, generation,
                           threshold, at, fired_at, notified)
    SELECT uuidv7(), 1, now, :by, now, :by, due.id, generation, threshold, greatest(at, started_at), now, highest
    FROM reached JOIN due ON due.id = reached.id CROSS JOIN moment
    ON CONFLICT (clock_id, generation, threshold) DO NOTHING
    RETURNING id, clock_id, threshold, notified
), moved AS (
    UPDATE sla_clock c
    SET next_threshold = f.threshold, next_fire_at = f.at,
        warned_at = coalesce(c.warned_at, (
            SELECT greatest(min(r.at), due.started_at) FROM reached r
            WHERE r.id = due.id AND r.threshold <> 'breach' AND r.at <= due.due_at HAVING count(*) > 0)),
        breached_at = CASE WHEN due.due_at <= now
            THEN coalesce(c.breached_at, greatest(due.due_at, due.started_at)) ELSE c.breached_at END,
        row_version = c.row_version + 1, updated_at = now, updated_by = :by
    FROM due CROSS JOIN moment LEFT JOIN following f ON f.id = due.id
    WHERE c.id = due.id
)
SELECT due.id AS clock_id, due.generation, due.record_entity, due.record_id, r.id AS event_id, r.threshold,
       r.notified AS announced, p.run_id, s.id AS policy_id, s.code AS policy
FROM due
JOIN sla_policy s ON s.id = due.policy_id
LEFT JOIN recorded r ON r.clock_id = due.id
LEFT JOIN process_run p ON due.record_entity = 'process_run' AND p.id = due.record_id
"""

_ANYTHING_DUE = f"""
SELECT EXISTS (SELECT FROM sla_clock WHERE next_fire_at IS NOT NULL AND next_fire_at <= {_MOMENT})
"""

_DUE_IDS = f"""
SELECT id FROM sla_clock WHERE next_fire_at IS NOT NULL AND next_fire_at <= {_MOMENT}
ORDER BY next_fire_at LIMIT :limit
"""

_SET_ASIDE = f"""
UPDATE sla_clock SET next_fire_at = {_MOMENT} + :pause
WHERE id = :id AND next_fire_at IS NOT NULL AND next_fire_at <= {_MOMENT}
"""


def _typed(statement: str, *more: Any) -> TextClause:
    return text(statement).bindparams(bindparam("now", type_=DateTime(timezone=True)), *more)


_LIMIT = bindparam("limit", type_=Integer)
_BY = bindparam("by", type_=Uuid)
FIRE_DUE = _typed(_FIRE.format(moment=_MOMENT, which=""), _LIMIT, _BY)
FIRE_THESE = _typed(
    _FIRE.format(moment=_MOMENT, which="AND id = ANY(:ids)"), _LIMIT, _BY, bindparam("ids", type_=ARRAY(Uuid))
)
ANYTHING_DUE = _typed(_ANYTHING_DUE)
DUE_IDS = _typed(_DUE_IDS, _LIMIT)
PUT_ASIDE = _typed(_SET_ASIDE)


async def sweep(platform: Platform, *, limit: int = BATCH, now: datetime | None = None) -> SweepResult:
    """Fire everything that is due, `limit` clocks in each transaction. `now` is given by simulations only."""
    actor = system_actor("SLA sweep")
    total = SweepResult()
    if not await _anything_due(platform, now):
        return total
    while True:
        try:
            batch = await _fire(platform, actor, FIRE_DUE, {"limit": limit}, now)
        except Exception as error:  # whatever is wrong with one clock must not stop the others
            log.warning("a batch of due clocks failed and is taken apart: %s", _first_line(error))
            batch = await _take_apart(platform, actor, limit, now)
        total += batch
        if batch.clocks + batch.set_aside < limit:
            return total


async def _anything_due(platform: Platform, now: datetime | None) -> bool:
    """Look, without a transaction: most sweeps find nothing, and each worker looks every few seconds."""
    async with platform.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        return bool(await connection.scalar(ANYTHING_DUE, {"now": now}))


async def _fire(
    platform: Platform, actor: Actor, statement: TextClause, values: Mapping[str, Any], now: datetime | None
) -> SweepResult:
    """Fire in one transaction, with all that listens to it."""
    async with platform.uow(actor, now=now) as uow:
        rows = (await uow.execute(statement, {**values, "now": now, "by": actor.id})).all()
        passed = tuple(
            PassedThreshold(
                event_id=row.event_id,
                clock_id=row.clock_id,
                generation=row.generation,
                threshold=row.threshold,
                record_entity=row.record_entity,
                record_id=row.record_id,
                policy=row.policy,
                policy_id=row.policy_id,
            )
            for row in rows
            if row.announced
        )
        if passed:
            uow.emit(SlaThresholdsPassed(at=uow.now, passed=passed))
            uow.touch("entity:sla_clock", *{f"{each.record_entity}:{each.record_id}" for each in passed})
            uow.touch(*{f"run:{row.run_id}" for row in rows if row.announced and row.run_id})
    return SweepResult(
        clocks=len({row.clock_id for row in rows}),
        recorded=sum(row.event_id is not None for row in rows),
        announced=len(passed),
    )


async def _take_apart(platform: Platform, actor: Actor, limit: int, now: datetime | None) -> SweepResult:
    """Fire what is due in ever smaller portions, so that a clock which cannot be fired is found and set aside."""
    async with platform.uow(actor, now=now) as uow:
        ids = list((await uow.execute(DUE_IDS, {"limit": limit, "now": now})).scalars())
    total = SweepResult()
    portions = [ids] if ids else []
    while portions:
        portion = portions.pop()
        try:
            total += await _fire(platform, actor, FIRE_THESE, {"limit": len(portion), "ids": portion}, now)
        except Exception as error:
            if len(portion) > 1:
                portions += _halves(portion)
                continue
            await _set_aside(platform, actor, portion[0], now)
            log.error("clock %s cannot be fired and is set aside for %s: %s", portion[0], SET_ASIDE, _first_line(error))
            total += SweepResult(set_aside=1)
    return total


def _halves(portion: Sequence[UUID]) -> list[list[UUID]]:
    middle = len(portion) // 2
    return [list(portion[middle:]), list(portion[:middle])]


async def _set_aside(platform: Platform, actor: Actor, clock_id: UUID, now: datetime | None) -> None:
    async with platform.uow(actor, now=now) as uow:
        await uow.execute(PUT_ASIDE, {"id": clock_id, "now": now, "pause": SET_ASIDE})


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
