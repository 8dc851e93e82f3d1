"""What the commands on a draft share: codes, places, what goes with a stage, and the record of each change."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, func, or_, select

from app.core.audit import AuditEntry
from app.core.errors import FieldProblem, NotFound, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import Decision
from app.domain.workflow.arranging import arrange, beside, key_at
from app.domain.workflow.drafts import Draft

CODE = re.compile(r"^[A-Za-z][A-Za-z0-9_]*$")
_NOT_IN_CODES = re.compile(r"[^a-z0-9]+")
PLACED = frozenset({"version", "stage", "parent", "rank"})
NOT_COPIED = frozenset({"id", "row_version", "created_at", "created_by", "updated_at", "updated_by"})


@dataclass(frozen=True, slots=True)
class Contents:
    """What goes when a stage or a process is removed: codes and labels from top to bottom, and how many edges."""

    stages: tuple[tuple[str, str], ...]
    processes: tuple[tuple[str, str], ...]
    dependencies: int


async def contents(uow: UnitOfWork, *, stage_id: UUID | None = None, process_id: UUID | None = None) -> Contents:
    """What would go with a stage (itself included), or with a process."""
    stages, processes, edges = uow.table("stage"), uow.table("process"), uow.table("process_dependency")
    below: list[Any] = []
    if stage_id is not None:
        top = select(stages.c.path).where(stages.c.id == stage_id).scalar_subquery()
        rows = await uow.execute(
            select(stages.c.id, stages.c.code, stages.c.label)
            .where(stages.c.path.op("<@")(top))
            .order_by(stages.c.rank)
        )
        below = list(rows)
    inside = processes.c.id == process_id
    if stage_id is not None:
        inside = processes.c.stage_id.in_([row.id for row in below])
    work = list(
        await uow.execute(
            select(processes.c.id, processes.c.code, processes.c.label).where(inside).order_by(processes.c.rank)
        )
    )
    ids = [row.id for row in work]
    touching = or_(edges.c.predecessor_id.in_(ids), edges.c.successor_id.in_(ids))
    count = await uow.scalar(select(func.count()).select_from(edges).where(touching)) if ids else 0
    return Contents(tuple((r.code, r.label) for r in below), tuple((r.code, r.label) for r in work), count)


def free_code(label: str, taken: Collection[str]) -> str:
    """A code that says what the label says and is not taken: "Desk head approval" is `desk_head_approval`."""
    code = _NOT_IN_CODES.sub("_", label.lower()).strip("_")[:56].rstrip("_")
    if not code or not code[0].isalpha():
        code = f"p_{code}".rstrip("_")
    number, found = 2, code
    while found in taken:
        found, number = f"{code}_{number}", number + 1
    return found


async def version_of(uow: UnitOfWork, entity: str, id_: UUID) -> UUID:
    table = uow.table(entity)
    found: UUID | None = await uow.scalar(select(table.c.version_id).where(table.c.id == id_))
    if found is None:
        label = uow.registry.entity(entity).label.lower()
        raise NotFound(f"There is no such {label} any more; somebody may have removed it.")
    return found


async def require_part(uow: UnitOfWork, entity: str, id_: UUID, draft: Draft, path: str) -> None:
    """Raises ValidationFailed where the stage is not of the draft."""
    table = uow.table(entity)
    found = await uow.scalar(select(table.c.version_id).where(table.c.id == id_))
    if found != draft.id:
        message = f"There is no such {entity} in version {draft.number}; choose another."
        raise ValidationFailed([FieldProblem(path, message, "unknown")])


async def require_ends(uow: UnitOfWork, draft: Draft, values: Mapping[str, Any]) -> None:
    """Both ends of a dependency, as far as they are given, are processes of the draft."""
    ends = {name: values[name] for name in ("predecessor", "successor") if values.get(name)}
    processes = uow.table("process")
    for name, given in ends.items():
        try:
            id_ = UUID(str(given))
        except ValueError:
            raise ValidationFailed([FieldProblem(name, "Choose a process.", "invalid")]) from None
        if await uow.scalar(select(processes.c.version_id).where(processes.c.id == id_)) != draft.id:
            message = f"There is no such process in version {draft.number}; choose another."
            raise ValidationFailed([FieldProblem(name, message, "unknown")])
    if len(ends) == 2 and str(ends["predecessor"]) == str(ends["successor"]):
        raise ValidationFailed([FieldProblem("predecessor", "A process cannot wait for itself.", "cycle")])


async def with_code(uow: UnitOfWork, entity: str, draft: Draft, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields without the place, with a code: the one that was given, or one made of the label."""
    given = {name: value for name, value in values.items() if name not in PLACED}
    code = str(given.get("code") or "").strip()
    if not code and str(given.get("label") or "").strip():
        code = free_code(str(given["label"]), await codes_of(uow, entity, draft.id))
    problems = code_problems(code) if code else []
    if problems:
        raise ValidationFailed(problems)
    return {**given, "code": code or None}


async def codes_of(uow: UnitOfWork, entity: str, version_id: UUID) -> frozenset[str]:
    table = uow.table(entity)
    return frozenset((await uow.execute(select(table.c.code).where(table.c.version_id == version_id))).scalars())


def code_problems(code: Any) -> list[FieldProblem]:
    if CODE.match(str(code or "")):
        return []
    message = "Letters, digits and _, with a letter first, for example desk_head_approval."
    return [FieldProblem("code", message, "pattern")]


async def place(
    uow: UnitOfWork, draft: Draft, entity: str, id_: UUID, *, owner: UUID | None, position: int | None
) -> None:
    """Put something that is in its stage already at a place in it, and number the draft anew."""
    key = key_at(position, await beside(uow, entity, draft.id, owner), id_)
    await arrange(uow, draft.id, moved=id_, key=key)
    touch(uow, draft)


def touch(uow: UnitOfWork, draft: Draft) -> None:
    uow.touch(f"workflow_version:{draft.id}", f"workflow:{draft.workflow_id}")


def changed_stamp(uow: UnitOfWork, row: RowMapping) -> dict[str, Any]:
    return {"row_version": row["row_version"] + 1, "updated_at": uow.now, "updated_by": uow.actor.id}


def new_stamp(uow: UnitOfWork) -> dict[str, Any]:
    at, by = uow.now, uow.actor.id
    return {"row_version": 1, "created_at": at, "created_by": by, "updated_at": at, "updated_by": by}


def id_of(record: Mapping[str, Any]) -> UUID:
    id_: UUID = record["id"]
    return id_


def said(row: RowMapping, gone: Contents) -> dict[str, Any]:
    def codes(parts: Iterable[tuple[str, str]]) -> list[str]:
        return [code for code, _ in parts]

    return {
        "code": row["code"],
        "label": row["label"],
        "stages": codes(gone.stages),
        "processes": codes(gone.processes),
        "dependencies": gone.dependencies,
    }


def record_change(
    uow: UnitOfWork, decision: Decision, draft: Draft, command: str, id_: UUID, **more: Mapping[str, Any]
) -> None:
    """One audit entry for a command such as `process.move`, and a word to open pages."""
    touch(uow, draft)
    uow.audit(
        AuditEntry(
            command=command,
            entity=command.partition(".")[0],
            record_id=id_,
            before=more.get("before"),
            after=more.get("after"),
            context={"workflow": draft.code, "version": draft.number},
            allowed_by=decision.allowed_by,
            grant_id=decision.grant_id,
        )
    )
