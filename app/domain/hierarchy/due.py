"""Carry out what was planned: on its day, a dated change becomes the row of its node."""

from typing import Any

from sqlalchemy import Row, select, text

from app.core.uow import UnitOfWork
from app.domain.access.decisions import Decision, authorize
from app.domain.hierarchy.merging import merge_of, move_references
from app.domain.hierarchy.service import NODE, audit_change
from app.domain.hierarchy.store import refresh_due

LOCK_TREES = text("SELECT id FROM hierarchy ORDER BY id FOR NO KEY UPDATE")


async def apply_due_changes(uow: UnitOfWork) -> int:
    """Bring every node in line with its version of today; doing it again changes nothing. Returns how many changed.

    A job runs it after midnight; it also catches up on days on which it did not run.
    """
    decision = authorize(uow, "update", NODE)
    await uow.execute(LOCK_TREES)
    rows = await refresh_due(uow)
    codes = await _codes(uow, rows)
    for row in rows:
        moved = await _follow_merge(uow, row, decision)
        before, after = _facts(row, "old", codes), _facts(row, "new", codes)
        differing = [name for name in after if before[name] != after[name]]
        audit_change(
            uow,
            row.id,
            decision,
            verb="apply",
            at=uow.now.date(),
            reason=None,
            before={name: before[name] for name in differing},
            after={name: after[name] for name in differing},
            context={"moved": moved} if moved else None,
        )
    return len(rows)


async def _follow_merge(uow: UnitOfWork, row: Row[Any], decision: Decision) -> dict[str, int]:
    if row.new_merged_into_id is None or row.new_merged_into_id == row.old_merged_into_id:
        return {}
    merge = await merge_of(
        uow, source_id=row.id, source=row.code, target_id=row.new_merged_into_id, at=row.new_valid_to
    )
    return await move_references(uow, merge, decision)


async def _codes(uow: UnitOfWork, rows: list[Row[Any]]) -> dict[Any, str]:
    names = ("old_parent_id", "new_parent_id", "old_merged_into_id", "new_merged_into_id")
    ids = {getattr(row, name) for row in rows for name in names} - {None}
    if not ids:
        return {}
    nodes = uow.table(NODE)
    return {row.id: row.code for row in await uow.execute(select(nodes.c.id, nodes.c.code).where(nodes.c.id.in_(ids)))}


def _facts(row: Row[Any], which: str, codes: dict[Any, str]) -> dict[str, Any]:
    return {
        "label": getattr(row, f"{which}_label"),
        "parent": codes.get(getattr(row, f"{which}_parent_id")),
        "attributes": getattr(row, f"{which}_attributes"),
        "valid_to": getattr(row, f"{which}_valid_to"),
        "merged_into": codes.get(getattr(row, f"{which}_merged_into_id")),
    }
