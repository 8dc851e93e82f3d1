"""Timelines in the database: read, written, and applied to the rows of the nodes as of today. All set-based."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Row, Uuid, bindparam, cast, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import JSONB

from app.core.errors import FieldProblem, NotFound, StaleVersion, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.hierarchy.timeline import Change, Rows, Timeline, Version, difference, end_after, version_today
from models.base import uuid7

# A path of this many ids still fits into a page of the index on paths.
MAX_LEVELS = 50

_IDS = bindparam("ids", type_=ARRAY(Uuid))

LOCK_TREE_OF = text(
    "SELECT id, code, label FROM hierarchy"
    " WHERE id = (SELECT hierarchy_id FROM hierarchy_node WHERE id = :node_id) FOR NO KEY UPDATE"
)
LOCK_TREE = text("SELECT id, code, label FROM hierarchy WHERE code = :code FOR NO KEY UPDATE")

INSERT_NODES = text(
    """
INSERT INTO hierarchy_node (id, hierarchy_id, code, label, parent_id, attributes, valid_from, valid_to, path,
                            row_version, created_at, created_by, updated_at, updated_by)
SELECT r.id, :hierarchy_id, r.code, r.label, r.parent_id, r.attributes, r.valid_from, r.valid_to, r.path,
       1, :now, :actor_id, :now, :actor_id
FROM jsonb_to_recordset(:rows) AS r (id uuid, code text, label text, parent_id uuid, attributes jsonb, valid_from date,
                                     valid_to date, path ltree)
"""
).bindparams(bindparam("rows", type_=JSONB))
INSERT_VERSIONS = text(
    """
INSERT INTO hierarchy_node_version (id, node_id, parent_id, label, attributes, valid_from, valid_to, change, reason,
                                    merged_into_id, row_version, created_at, created_by, updated_at, updated_by)
SELECT r.id, r.node_id, r.parent_id, r.label, r.attributes, r.valid_from, r.valid_to, r.change, r.reason,
       r.merged_into_id, 1, :now, :actor_id, :now, :actor_id
FROM jsonb_to_recordset(:rows) AS r (id uuid, node_id uuid, parent_id uuid, label text, attributes jsonb,
                                     valid_from date, valid_to date, change text, reason text, merged_into_id uuid)
"""
).bindparams(bindparam("rows", type_=JSONB))

# The row of a node is its version of today (`timeline.version_today`), before it begins its first one.
_VERSION_OF_TODAY = """
SELECT DISTINCT ON (v.node_id) v.node_id, v.parent_id, v.label, v.attributes, v.merged_into_id,
    (SELECT min(f.valid_from) FROM hierarchy_node_version f WHERE f.node_id = v.node_id) AS valid_from,
    CASE WHEN v.change IN ('retired', 'merged') THEN v.valid_from
         ELSE (SELECT min(e.valid_from) FROM hierarchy_node_version e
               WHERE e.node_id = v.node_id AND e.valid_from > v.valid_from AND e.change IN ('retired', 'merged'))
    END AS valid_to, v.change
FROM hierarchy_node_version v
WHERE {which}
ORDER BY v.node_id, (v.valid_from <= :today) DESC, abs(v.valid_from - :today)
"""
_REFRESH = """
WITH wanted AS ({wanted})
UPDATE hierarchy_node n SET
    parent_id = w.parent_id, label = w.label, attributes = w.attributes, merged_into_id = w.merged_into_id,
    valid_from = w.valid_from, valid_to = w.valid_to,
    row_version = n.row_version + 1, updated_at = :now, updated_by = :actor_id
FROM wanted w
WHERE n.id = w.node_id {limit}
RETURNING n.id, n.hierarchy_id, n.code, n.row_version, old.label AS old_label, new.label AS new_label,
    old.parent_id AS old_parent_id, new.parent_id AS new_parent_id, old.attributes AS old_attributes,
    new.attributes AS new_attributes, old.valid_to AS old_valid_to, new.valid_to AS new_valid_to,
    old.merged_into_id AS old_merged_into_id, new.merged_into_id AS new_merged_into_id
"""
REFRESH_NAMED = text(
    _REFRESH.format(
        wanted=_VERSION_OF_TODAY.format(which="v.node_id = ANY(:ids)"),
        limit="",
    )
).bindparams(_IDS)
REFRESH_DUE = text(
    _REFRESH.format(
        wanted=_VERSION_OF_TODAY.format(which="true"),
        limit="AND (n.parent_id, n.label, n.attributes, n.merged_into_id, n.valid_from, n.valid_to) IS DISTINCT FROM"
        " (w.parent_id, w.label, w.attributes, w.merged_into_id, w.valid_from, w.valid_to)",
    )
)
REWRITE_PATHS = text(
    """
WITH RECURSIVE place AS (
    SELECT id, text2ltree(replace(CAST(id AS text), '-', '')) AS path
    FROM hierarchy_node WHERE hierarchy_id = :hierarchy_id AND parent_id IS NULL
    UNION ALL
    SELECT n.id, p.path || replace(CAST(n.id AS text), '-', '')
    FROM place p JOIN hierarchy_node n ON n.parent_id = p.id
), rewritten AS (
    UPDATE hierarchy_node n SET path = p.path FROM place p WHERE n.id = p.id AND n.path <> p.path RETURNING n.id
)
SELECT (SELECT count(*) FROM rewritten) AS rewritten, coalesce((SELECT max(nlevel(path)) FROM place), 0) AS levels
"""
)


@dataclass(frozen=True, slots=True)
class Tree:
    id: UUID
    code: str
    label: str


@dataclass(frozen=True, slots=True)
class Node:
    """A node with its timeline, read under the lock of its hierarchy."""

    id: UUID
    hierarchy_id: UUID
    code: str
    row_version: int
    timeline: Timeline


@dataclass(frozen=True, slots=True)
class NewNode:
    id: UUID
    code: str
    timeline: Timeline


async def lock_tree(uow: UnitOfWork, *, code: str) -> Tree:
    """Changes of one hierarchy happen one after the other: two moves at once could make a ring. Raises NotFound."""
    row = (await uow.execute(LOCK_TREE, {"code": code})).first()
    if row is None:
        raise NotFound(f"There is no hierarchy {code!r}.")
    return Tree(row.id, row.code, row.label)


async def lock_node(uow: UnitOfWork, node_id: UUID, expected_version: int | None = None) -> Node:
    """Lock the node's hierarchy and read the node. Raises NotFound, StaleVersion."""
    if (await uow.execute(LOCK_TREE_OF, {"node_id": node_id})).first() is None:
        raise NotFound("There is no such hierarchy node, or you may not see it.")
    node = (await read_nodes(uow, [node_id]))[node_id]
    if expected_version is not None and node.row_version != expected_version:
        raise StaleVersion(
            f"{node.code} was changed since you opened it (version {node.row_version}, yours was {expected_version}). "
            "Load it again and repeat your change.",
            context={"current_version": node.row_version, "expected_version": expected_version},
        )
    return node


async def read_nodes(
    uow: UnitOfWork, ids: Collection[UUID] | None = None, *, hierarchy_id: UUID | None = None
) -> dict[UUID, Node]:
    """Nodes with their timelines by id: those named, or all of a hierarchy. Two statements."""
    nodes, versions = uow.table("hierarchy_node"), uow.table("hierarchy_node_version")
    rows = select(nodes.c.id, nodes.c.hierarchy_id, nodes.c.code, nodes.c.row_version)
    dated = select(versions).order_by(versions.c.node_id, versions.c.valid_from)
    if ids is not None:
        rows = rows.where(among(nodes.c.id, ids))
        dated = dated.where(among(versions.c.node_id, ids))
    else:
        rows = rows.where(nodes.c.hierarchy_id == hierarchy_id)
        dated = dated.join(nodes, nodes.c.id == versions.c.node_id).where(nodes.c.hierarchy_id == hierarchy_id)
    timelines: dict[UUID, list[Version]] = {}
    for row in await uow.execute(dated):
        timelines.setdefault(row.node_id, []).append(_version(row))
    found = await uow.execute(rows)
    return {
        row.id: Node(row.id, row.hierarchy_id, row.code, row.row_version, tuple(timelines.get(row.id, ())))
        for row in found
    }


def among(column: ColumnElement[Any], ids: Collection[UUID]) -> ColumnElement[bool]:
    """`column` is one of `ids`, sent as one array: an import names more nodes than a statement takes parameters."""
    return column == func.any(cast(list(ids), ARRAY(Uuid)))


def _version(row: Row[Any]) -> Version:
    return Version(
        id=row.id,
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        parent_id=row.parent_id,
        label=row.label,
        attributes=row.attributes or {},
        change=Change(row.change),
        reason=row.reason,
        merged_into_id=row.merged_into_id,
    )


async def insert_nodes(uow: UnitOfWork, hierarchy_id: UUID, new: Sequence[NewNode]) -> None:
    """Write new nodes with their versions, parents before children, as they are today. Three statements at most."""
    if not new:
        return
    paths = await _paths(uow, {id_ for node in new if (id_ := node.timeline[0].parent_id) is not None})
    today = uow.now.date()
    rows = []
    for node in new:
        now = version_today(node.timeline, today)
        above = paths.get(now.parent_id) if now.parent_id is not None else None
        paths[node.id] = f"{above}.{node.id.hex}" if above else node.id.hex
        end = now.valid_from if not now.in_force else end_after(node.timeline, now.valid_from)
        rows.append(
            {
                "id": str(node.id),
                "code": node.code,
                "label": now.label,
                "parent_id": _text(now.parent_id),
                "attributes": dict(now.attributes),
                "valid_from": node.timeline[0].valid_from.isoformat(),
                "valid_to": end.isoformat() if end else None,
                "path": paths[node.id],
            }
        )
    values = {"rows": rows, "hierarchy_id": hierarchy_id, "now": uow.now, "actor_id": uow.actor.id}
    await uow.execute(INSERT_NODES, values)
    await _insert_versions(uow, [(node.id, version) for node in new for version in node.timeline])
    uow.touch("entity:hierarchy_node")


async def _paths(uow: UnitOfWork, ids: Collection[UUID]) -> dict[UUID, str]:
    if not ids:
        return {}
    nodes = uow.table("hierarchy_node")
    return {
        row.id: row.path for row in await uow.execute(select(nodes.c.id, nodes.c.path).where(among(nodes.c.id, ids)))
    }


async def write_timelines(uow: UnitOfWork, changes: Mapping[UUID, tuple[Timeline, Timeline]]) -> None:
    """Node id -> (the timeline as it was read, the one it becomes): three statements for any number of nodes."""
    table = uow.table("hierarchy_node_version")
    work: dict[UUID, Rows] = {node_id: difference(old, new) for node_id, (old, new) in changes.items()}
    gone = [id_ for rows in work.values() for id_ in rows.delete]
    if gone:
        await uow.execute(delete(table).where(among(table.c.id, gone)))
    altered = [
        {
            "row_id": version.id,
            **_columns(version),
            "updated_at": uow.now,
            "updated_by": uow.actor.id,
        }
        for rows in work.values()
        for version in rows.update
    ]
    if altered:
        names = [name for name in altered[0] if name != "row_id"]
        statement = (
            update(table)
            .where(table.c.id == bindparam("row_id"))
            .values({name: bindparam(name) for name in names} | {"row_version": table.c.row_version + 1})
        )
        await uow.execute(statement, altered)
    await _insert_versions(uow, [(id_, version) for id_, rows in work.items() for version in rows.insert])


async def _insert_versions(uow: UnitOfWork, new: Sequence[tuple[UUID, Version]]) -> None:
    if not new:
        return
    rows = [
        {
            "id": str(uuid7()),
            "node_id": str(node_id),
            "parent_id": _text(version.parent_id),
            "label": version.label,
            "attributes": dict(version.attributes),
            "valid_from": version.valid_from.isoformat(),
            "valid_to": version.valid_to.isoformat() if version.valid_to else None,
            "change": version.change.value,
            "reason": version.reason,
            "merged_into_id": _text(version.merged_into_id),
        }
        for node_id, version in new
    ]
    await uow.execute(INSERT_VERSIONS, {"rows": rows, "now": uow.now, "actor_id": uow.actor.id})


def _text(id_: UUID | None) -> str | None:
    return None if id_ is None else str(id_)


def _columns(version: Version) -> dict[str, Any]:
    return {
        "parent_id": version.parent_id,
        "label": version.label,
        "attributes": dict(version.attributes),
        "valid_from": version.valid_from,
        "valid_to": version.valid_to,
        "change": version.change.value,
        "reason": version.reason,
        "merged_into_id": version.merged_into_id,
    }


async def refresh(uow: UnitOfWork, hierarchy_id: UUID, ids: Sequence[UUID]) -> dict[UUID, Row[Any]]:
    """Bring the rows of these nodes, and the paths of everything below them, in line with their versions of today.

    Returns by id what each row was and is.
    """
    values = {"ids": list(ids), "today": uow.now.date(), "now": uow.now, "actor_id": uow.actor.id}
    rows = (await uow.execute(REFRESH_NAMED, values)).all()
    if any(row.old_parent_id != row.new_parent_id for row in rows):
        await rewrite_paths(uow, hierarchy_id)
    uow.touch("entity:hierarchy_node", *(f"hierarchy_node:{row.id}" for row in rows[:50]))
    return {row.id: row for row in rows}


async def refresh_due(uow: UnitOfWork) -> list[Row[Any]]:
    """The same for every node whose row is not its version of today any more. Returns what each row was and is."""
    today = {"today": uow.now.date(), "now": uow.now, "actor_id": uow.actor.id}
    rows = list((await uow.execute(REFRESH_DUE, today)).all())
    for hierarchy_id in sorted({row.hierarchy_id for row in rows if row.old_parent_id != row.new_parent_id}):
        await rewrite_paths(uow, hierarchy_id)
    if rows:
        uow.touch("entity:hierarchy_node")
    return rows


async def rewrite_paths(uow: UnitOfWork, hierarchy_id: UUID) -> int:
    """Write each path of the hierarchy that is not what its parents make it; one statement. Returns how many."""
    row = (await uow.execute(REWRITE_PATHS, {"hierarchy_id": hierarchy_id})).one()
    if row.levels > MAX_LEVELS:
        message = f"the hierarchy would have {row.levels} levels; it can have {MAX_LEVELS}"
        raise ValidationFailed([FieldProblem("parent", message, "too_deep")])
    rewritten: int = row.rewritten
    return rewritten
