"""The order of stages and processes in a draft, and the paths of its stages: worked out anew at each change.

Ranks count from top to bottom as a reader sees them: those of stages over the whole tree, those of processes over all
stages.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Integer, Uuid, bindparam, text

from app.core.events import RecordCreated, RecordUpdated
from app.core.uow import UnitOfWork

# What is moved gets a key between the doubled ranks of its new neighbours. Stages that a wrong parent has cut off from
# the top are not reached, and stay as they are.
_ARRANGE = text(
    """
WITH RECURSIVE placed AS (
    SELECT id, parent_id, row_number() OVER (
        PARTITION BY parent_id ORDER BY CASE WHEN id = :moved THEN :key ELSE rank * 2 END, created_at, id) AS place
    FROM stage WHERE version_id = :version_id
), tree AS (
    SELECT id, ARRAY[place] AS way, replace(id::text, '-', '') AS path FROM placed WHERE parent_id IS NULL
    UNION ALL
    SELECT p.id, t.way || p.place, t.path || '.' || replace(p.id::text, '-', '')
    FROM placed p JOIN tree t ON p.parent_id = t.id
), stages AS (
    SELECT id, path::ltree AS path, row_number() OVER (ORDER BY way) AS rank FROM tree
), arranged AS (
    UPDATE stage s SET rank = n.rank, path = n.path
    FROM stages n WHERE s.id = n.id AND (s.rank <> n.rank OR s.path IS DISTINCT FROM n.path)
), processes AS (
    SELECT p.id, row_number() OVER (
        ORDER BY n.rank, CASE WHEN p.id = :moved THEN :key ELSE p.rank * 2 END, p.created_at, p.id) AS rank
    FROM process p JOIN stages n ON n.id = p.stage_id
)
UPDATE process p SET rank = n.rank FROM processes n WHERE p.id = n.id AND p.rank <> n.rank
"""
).bindparams(bindparam("moved", type_=Uuid), bindparam("key", type_=Integer), bindparam("version_id", type_=Uuid))
_STAGES_BESIDE = text(
    """
SELECT id, rank FROM stage WHERE version_id = :version_id AND parent_id IS NOT DISTINCT FROM :owner ORDER BY rank, id
"""
).bindparams(bindparam("owner", type_=Uuid))
_PROCESSES_BESIDE = text(
    "SELECT id, rank FROM process WHERE version_id = :version_id AND stage_id = :owner ORDER BY rank, id"
).bindparams(bindparam("owner", type_=Uuid))


async def beside(uow: UnitOfWork, entity: str, version_id: UUID, owner: UUID | None) -> list[tuple[UUID, int]]:
    """The stages below a stage (or at the top), or the processes of a stage, with their ranks, in their order."""
    statement = _STAGES_BESIDE if entity == "stage" else _PROCESSES_BESIDE
    rows = await uow.execute(statement, {"version_id": version_id, "owner": owner})
    return [(row.id, row.rank) for row in rows]


def key_at(position: int | None, neighbours: Sequence[tuple[UUID, int]], moved: UUID) -> int:
    """Where among its neighbours something stands, as a key for `arrange`. Position 0 is first, None is last.

    >>> key_at(1, [(a, 4), (b, 6)], c)
    11
    """
    ranks = [rank for id_, rank in neighbours if id_ != moved]
    if position is None or position >= len(ranks):
        return (ranks[-1] * 2 + 1) if ranks else 0
    return ranks[max(position, 0)] * 2 - 1


async def arrange(uow: UnitOfWork, version_id: UUID, *, moved: UUID | None = None, key: int = 0) -> None:
    """Number everything in the draft anew, with one thing at the place of `key`. One statement."""
    await uow.execute(_ARRANGE, {"version_id": version_id, "moved": moved, "key": key})


async def arrange_after_change(uow: UnitOfWork, event: RecordCreated | RecordUpdated) -> None:
    """Keep order and paths right where a stage was given another parent through the general forms or the API."""
    if event.entity != "stage" or not isinstance(event, RecordUpdated) or "parent" not in event.fields:
        return
    stages = uow.table("stage")
    version_id = await uow.scalar(
        stages.select().with_only_columns(stages.c.version_id).where(stages.c.id == event.record_id)
    )
    if version_id is not None:
        await arrange(uow, version_id)
