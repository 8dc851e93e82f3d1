"""Import a tree from CSV: read the file, compare it with the tree as a plan, apply the plan.

The file has the columns `code, parent_code, label` and may have `valid_from, valid_to`; every other column is an
attribute. A node that the file does not list stays as it is, unless `retire_missing` is asked for.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import text

from app.core.audit import AuditEntry
from app.core.errors import Conflict, FieldProblem, Forbidden, InvalidRequest, NotFound, StaleVersion, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.access.scope import scope_condition
from app.domain.hierarchy.checks import blockers_of
from app.domain.hierarchy.import_diff import CsvRow, ImportPlan, ImportProblem, compare_with_file
from app.domain.hierarchy.service import NODE, facts
from app.domain.hierarchy.store import NewNode, among, insert_nodes, lock_tree, read_nodes, refresh, write_timelines
from app.domain.hierarchy.timeline import version_at

MAX_BYTES = 20_000_000
MAX_ROWS = 100_000
REQUIRED = ("code", "parent_code", "label")
DATES = ("valid_from", "valid_to")

# Changes whenever any node of the hierarchy is changed or added; a plan is good as long as this is what it was.
STATE_OF_TREE = text(
    "SELECT count(*) || '.' || coalesce(sum(row_version), 0) FROM hierarchy_node WHERE hierarchy_id = :hierarchy_id"
)
# On these dates something else was planned already: in force, and out of reach from the top, is a ring or an orphan.
OUT_OF_REACH = text(
    """
WITH RECURSIVE days AS (
    SELECT CAST(:at AS date) AS day
    UNION
    SELECT v.valid_from FROM hierarchy_node_version v JOIN hierarchy_node n ON n.id = v.node_id
    WHERE n.hierarchy_id = :hierarchy_id AND v.valid_from > :at
), there AS MATERIALIZED (
    SELECT d.day, v.node_id, v.parent_id
    FROM days d JOIN hierarchy_node_version v
        ON v.valid_from <= d.day AND (v.valid_to IS NULL OR v.valid_to > d.day)
        JOIN hierarchy_node n ON n.id = v.node_id AND n.hierarchy_id = :hierarchy_id
    WHERE v.change NOT IN ('retired', 'merged')
), reached AS (
    SELECT day, node_id FROM there WHERE parent_id IS NULL
    UNION ALL
    SELECT t.day, t.node_id FROM reached r JOIN there t ON t.day = r.day AND t.parent_id = r.node_id
)
SELECT t.day, n.code FROM there t JOIN hierarchy_node n ON n.id = t.node_id
WHERE NOT EXISTS (SELECT FROM reached r WHERE r.day = t.day AND r.node_id = t.node_id)
ORDER BY t.day, n.code LIMIT 3
"""
)


@dataclass(frozen=True, slots=True)
class ImportCounts:
    added: int
    renamed: int
    moved: int
    changed: int
    retired: int
    restored: int


def read_csv(content: str | bytes) -> list[CsvRow]:
    """Rows of the file with their line numbers; cells are stripped, empty lines left out.

    Raises: InvalidRequest when it is not CSV text with the columns that are needed.
    """
    if len(content) > MAX_BYTES:
        raise InvalidRequest(f"The file is larger than {MAX_BYTES // 1_000_000} MB; divide it.")
    try:
        decoded = content.decode("utf-8-sig") if isinstance(content, bytes) else content.removeprefix("\ufeff")
    except UnicodeDecodeError:
        raise InvalidRequest("The file is not UTF-8 text; save it as “CSV UTF-8”.") from None
    if "\0" in decoded:
        raise InvalidRequest("The file contains null characters; save it as “CSV UTF-8”.")
    first = decoded.split("\n", 1)[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    reader = csv.reader(io.StringIO(decoded, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header)
        rows: list[CsvRow] = []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(rows) == MAX_ROWS:
                raise InvalidRequest(f"The file has more than {MAX_ROWS:,} rows; divide it.")
            rows.append(_row(reader.line_num, header, cells))
    except csv.Error as error:
        raise InvalidRequest(f"The file is not CSV: line {reader.line_num}: {error}.") from None
    return rows


def _check_header(header: Sequence[str]) -> None:
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise InvalidRequest(
            f"The first line must name the columns; {', '.join(missing)} is missing. It must have code, parent_code "
            "and label, and may have valid_from, valid_to and any attributes."
        )
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled or "" in header:
        raise InvalidRequest(f"Each column needs a name of its own: {', '.join(doubled) or 'one has none'}.")


def _row(number: int, header: Sequence[str], cells: Sequence[str]) -> CsvRow:
    if len(cells) > len(header):
        raise InvalidRequest(
            f"Line {number} has {len(cells)} values for {len(header)} columns; quote a value with commas."
        )
    # Our own exports put an apostrophe before what a spreadsheet would take for a formula.
    stripped = (cell.strip() for cell in cells)
    values = dict(zip(header, (_without_guard(cell) for cell in stripped), strict=False))
    known = {*REQUIRED, *DATES}
    return CsvRow(
        number=number,
        code=values.get("code", ""),
        parent_code=values.get("parent_code", ""),
        label=values.get("label", ""),
        valid_from=values.get("valid_from", ""),
        valid_to=values.get("valid_to", ""),
        has_ends="valid_to" in header,
        attributes={name: values.get(name, "") for name in header if name not in known},
    )


def _without_guard(cell: str) -> str:
    return cell[1:] if cell.startswith(("'=", "'+", "'-", "'@")) else cell


async def plan_import(
    uow: UnitOfWork, *, hierarchy_code: str, rows: Iterable[CsvRow], as_of: date, retire_missing: bool = False
) -> ImportPlan:
    """Compare the file with the tree: what would be added, renamed, moved, changed, retired, and every problem.

    Nothing is written. Raises: Forbidden, NotFound.
    """
    authorize(uow, "import", NODE)
    trees = uow.table("hierarchy")
    found = await uow.execute(trees.select().where(trees.c.code == hierarchy_code))
    tree = found.first()
    if tree is None:
        raise NotFound(f"There is no hierarchy {hierarchy_code!r}.")
    basis = await uow.scalar(STATE_OF_TREE, {"hierarchy_id": tree.id})
    nodes = await read_nodes(uow, hierarchy_id=tree.id)
    plan = compare_with_file(
        tuple(rows), nodes.values(), hierarchy_id=tree.id, hierarchy_code=tree.code, basis=basis, as_of=as_of,
        retire_missing=retire_missing,
    )  # fmt: skip
    if plan.ends:
        plan = plan.with_problems(await _still_used(uow, plan))
    return plan


async def _still_used(uow: UnitOfWork, plan: ImportPlan) -> list[ImportProblem]:
    blockers = await blockers_of(uow, plan.ends, children=False)
    codes = {change.node_id: change for change in plan.changes}
    return [
        ImportProblem(
            codes[node_id].row_number,
            f"{codes[node_id].code} cannot end on {plan.ends[node_id]}: it is still used by "
            + "; ".join(map(str, found)),
        )
        for node_id, found in blockers.items()
    ]


async def apply_import(uow: UnitOfWork, plan: ImportPlan, *, reason: str | None = None) -> ImportCounts:
    """Carry out a plan, all of it or nothing, with a fixed number of statements.

    Raises:
        ValidationFailed: the plan has problems; each names its row.
        StaleVersion: the tree has changed since the plan was made.
        Forbidden: part of it lies outside of what the actor looks after.
    """
    decision = authorize(uow, "import", NODE)
    if plan.problems:
        raise ValidationFailed([FieldProblem(f"row {p.row_number}", p.message, "import") for p in plan.problems])
    tree = await lock_tree(uow, code=plan.hierarchy_code)
    if await uow.scalar(STATE_OF_TREE, {"hierarchy_id": tree.id}) != plan.basis:
        raise StaleVersion("The hierarchy has changed since the file was compared with it; compare again.")
    if plan.is_empty:
        return plan_counts(plan)
    await insert_nodes(uow, tree.id, [NewNode(new.id, new.code, new.timeline) for new in plan.additions])
    await write_timelines(uow, {change.node_id: (change.before, change.after) for change in plan.changes})
    changed = [change.node_id for change in plan.changes]
    if changed:
        await refresh(uow, tree.id, changed)
    touched = [new.id for new in plan.additions] + changed
    lost = (await uow.execute(OUT_OF_REACH, {"at": plan.as_of, "hierarchy_id": tree.id})).all() if plan.risky else []
    if lost:
        named = ", ".join(f"{row.code} on {row.day}" for row in lost)
        raise Conflict(f"With changes that are planned already, these nodes would not be below any top node: {named}.")
    await _require_in_scope(uow, touched)
    counts = plan_counts(plan)
    uow.audit(
        AuditEntry(
            command=f"{NODE}.import",
            entity="hierarchy",
            record_id=tree.id,
            after={name: getattr(counts, name) for name in counts.__slots__},
            reason=reason,
            context={"effective": plan.as_of, "retire_missing": plan.retire_missing},
            grant_id=decision.grant_id,
            allowed_by=decision.allowed_by,
        )
    )
    _audit_nodes(uow, plan)
    return counts


def plan_counts(plan: ImportPlan) -> ImportCounts:
    return ImportCounts(
        added=len(plan.additions),
        renamed=sum(change.renamed is not None for change in plan.changes),
        moved=sum(change.moved is not None for change in plan.changes),
        changed=sum(bool(change.attributes) for change in plan.changes),
        retired=sum(change.ends is not None for change in plan.changes),
        restored=sum(change.restored is not None for change in plan.changes),
    )


async def _require_in_scope(uow: UnitOfWork, ids: Sequence[UUID]) -> None:
    nodes = uow.table(NODE)
    condition = scope_condition(uow, "import", NODE, nodes)
    if condition is None:
        return
    outside = (await uow.execute(nodes.select().where(among(nodes.c.id, ids), ~condition).limit(3))).all()
    if outside:
        raise Forbidden(
            "The file changes nodes outside of the part of the tree that you look after: "
            + ", ".join(row.code for row in outside)
        )


def _audit_nodes(uow: UnitOfWork, plan: ImportPlan) -> None:
    """Each node has its own entry, so that its history is whole however it was changed."""
    codes = plan.codes
    for new in plan.additions:
        after = facts(new.timeline[0], codes)
        context = {"effective": new.timeline[0].valid_from, "import": True}
        entry = AuditEntry(
            command=f"{NODE}.create", entity=NODE, record_id=new.id, after={"code": new.code, **after}, context=context
        )
        uow.audit(entry)
    for change in plan.changes:
        old, new_ = version_at(change.before, change.at), version_at(change.after, change.at)
        before, after = facts(old, codes), facts(new_, codes)
        differing = [name for name in after if before.get(name) != after[name]]
        uow.audit(
            AuditEntry(
                command=f"{NODE}.update",
                entity=NODE,
                record_id=change.node_id,
                before={name: before.get(name) for name in differing},
                after={name: after[name] for name in differing},
                context={"effective": change.at, "import": True},
            )
        )
