"""Takes one run over to another version: set-based, in one transaction, under the lock of the run.

What is the same in both versions keeps everything: state, history, evidence, signatures, what its dependencies have
seen. What has not begun stands where the new dependencies put it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.core.uow import UnitOfWork
from app.domain.workflow.migration_sql import (
    CLOSE,
    DROP_EDGES,
    DROP_STAGES,
    HAND_OVER,
    MOVE_STAGES,
    NEST_STAGES,
    PASS,
    RANK_REST,
    STAND,
    edge_statements,
    process_statements,
)
from app.domain.workflow.released import Released, released_from
from app.domain.workflow.releasing import Passing


@dataclass(frozen=True, slots=True)
class Stood:
    """What stands otherwise: released now, taken away from the workers, done and free to end."""

    released: tuple[Released, ...]
    withdrawn: tuple[UUID, ...]
    finishable: tuple[UUID, ...]


async def move_parts(
    uow: UnitOfWork,
    values: dict[str, Any],
    *,
    kept: Sequence[tuple[UUID, str]],
    closed: Sequence[tuple[UUID, str]],
    added: Sequence[str],
) -> None:
    """Give stages and processes of the run their place in the new version. `values`: see `migrating`."""
    await uow.execute(MOVE_STAGES, values)
    await uow.execute(NEST_STAGES, values)
    if closed:
        ids, states = [id_ for id_, _ in closed], [state for _, state in closed]
        await uow.execute(CLOSE, {**values, "ids": ids, "states": states})
    keep, add = process_statements(uow.registry)
    if kept:
        await uow.execute(keep, {**values, "ids": [id_ for id_, _ in kept], "codes": [code for _, code in kept]})
    if added:
        await uow.execute(add, {**values, "codes": list(added)})
    await uow.execute(RANK_REST, values)
    await uow.execute(DROP_STAGES, values)


async def rebuild_edges(uow: UnitOfWork, values: dict[str, Any]) -> None:
    """Edges of the run as the new version has them; those that are in both keep what they have seen."""
    renew, add = edge_statements(uow.registry)
    await uow.execute(DROP_EDGES, values)
    await uow.execute(renew, values)
    await uow.execute(add, values)


async def pass_quietly(uow: UnitOfWork, values: dict[str, Any], passing: Sequence[Passing]) -> None:
    """Note on edges that their predecessor is as far; nothing is counted, because all is counted anew after that."""
    if not passing:
        return
    given = {
        "ids": [edge.id for edge in passing],
        "met": [edge.met_at for edge in passing],
        "due": [edge.due_at for edge in passing],
        "outcomes": [edge.outcome.value for edge in passing],
    }
    await uow.execute(PASS, {**values, **given})


async def stand(uow: UnitOfWork, values: dict[str, Any], *, coming: Sequence[UUID]) -> Stood:
    """Count what everything waits for, and put what has not begun where that leads."""
    await uow.execute(HAND_OVER, values)
    row = (await uow.execute(STAND, {**values, "coming": list(coming)})).one()
    return Stood(released_from(row.released), tuple(row.withdrawn), tuple(row.finishable))
