"""Which late process holds others up: forty processes that wait for one rate feed are one message, not forty."""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from sqlalchemy import Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from app.core.uow import UnitOfWork
from app.domain.sla.events import ThresholdName

FEWEST = 2  # what holds a single process up is said in the message of that process
_CLOSED = "('done', 'skipped', 'cancelled')"

# From each process that is blocked back along the hard dependencies that are open, to a process that waits for nothing
# itself. Where several do, the one that was due first is named.
_CAUSES = text(f"""
WITH RECURSIVE back AS (
    SELECT p.id AS of_id, p.id AS at_id FROM process_run p WHERE p.id = ANY (:ids) AND p.state IN ('blocked', 'planned')
    UNION
    SELECT b.of_id, e.predecessor_id
    FROM back b
    JOIN process_edge e ON e.successor_id = b.at_id AND e.hardness = 'hard' AND e.satisfied_at IS NULL
    JOIN process_run p ON p.id = e.predecessor_id AND p.state NOT IN {_CLOSED}
)
SELECT DISTINCT ON (b.of_id) b.of_id, c.id AS cause
FROM back b JOIN process_run c ON c.id = b.at_id
WHERE b.at_id <> b.of_id AND c.state NOT IN ('blocked', 'planned')
ORDER BY b.of_id, c.due_at NULLS LAST, c.id
""").bindparams(bindparam("ids", type_=ARRAY(Uuid)))

_HELD_UP = text(f"""
WITH RECURSIVE ahead AS (
    SELECT c.id AS cause, c.id AS at_id FROM process_run c WHERE c.id = ANY (:causes)
    UNION
    SELECT a.cause, e.successor_id
    FROM ahead a
    JOIN process_edge e ON e.predecessor_id = a.at_id AND e.hardness = 'hard' AND e.satisfied_at IS NULL
    JOIN process_run p ON p.id = e.successor_id AND p.state IN ('blocked', 'planned')
)
SELECT DISTINCT a.cause, p.id, p.rank
FROM ahead a
JOIN process_run p ON p.id = a.at_id
JOIN sla_clock k ON k.record_entity = 'process_run' AND k.record_id = p.id
JOIN sla_event v ON v.clock_id = k.id AND v.generation = k.generation AND v.threshold = :threshold
WHERE p.id <> a.cause AND p.state NOT IN {_CLOSED}
ORDER BY a.cause, p.rank, p.id
""").bindparams(bindparam("causes", type_=ARRAY(Uuid)), bindparam("threshold", type_=Text))


async def causes_of(uow: UnitOfWork, process_run_ids: Sequence[UUID]) -> Mapping[UUID, UUID]:
    """For each of them that only waits: what it waits for in the end. Left out where that holds up nothing else."""
    if not process_run_ids:
        return {}
    rows = (await uow.execute(_CAUSES, {"ids": list(process_run_ids)})).all()
    found = {row.of_id: row.cause for row in rows}
    held_up = await _count(uow, frozenset(found.values()))
    return {id_: cause for id_, cause in found.items() if held_up.get(cause, 0) >= FEWEST}


async def _count(uow: UnitOfWork, causes: Collection[UUID]) -> Mapping[UUID, int]:
    """How many of those that wait for each have passed any threshold already."""
    counts: dict[UUID, set[UUID]] = {}
    for threshold in ThresholdName:
        for cause, ids in (await all_held_up(uow, causes, threshold)).items():
            counts.setdefault(cause, set()).update(ids)
    return {cause: len(ids) for cause, ids in counts.items()}


async def all_held_up(
    uow: UnitOfWork, causes: Collection[UUID], threshold: ThresholdName
) -> Mapping[UUID, Sequence[UUID]]:
    """By cause: every process that waits for it and has passed this threshold, so that a message about it is whole."""
    if not causes:
        return {}
    rows = await uow.execute(_HELD_UP, {"causes": list(causes), "threshold": threshold.value})
    found: dict[UUID, list[UUID]] = {}
    for row in rows:
        found.setdefault(row.cause, []).append(row.id)
    return found
