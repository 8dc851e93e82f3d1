"""Changes of a draft, one thing at a time: stages, processes and dependencies are added, changed, moved and removed.

The fields are those of the definitions of `stage`, `process` and `process_dependency`, checked by the same rules as
every record. Each change names the version of the thing that its author has seen, so two people may work on one draft.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert, select, update

from app.core.errors import Conflict, NotFound, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.entities.service import create_record, update_record
from app.domain.workflow.arranging import arrange, beside
from app.domain.workflow.draft_parts import (
    NOT_COPIED,
    PLACED,
    Contents,
    changed_stamp,
    code_problems,
    codes_of,
    contents,
    free_code,
    id_of,
    new_stamp,
    place,
    record_change,
    require_ends,
    require_part,
    said,
    version_of,
    with_code,
)
from app.domain.workflow.drafts import lock_draft, lock_item
from models.base import uuid7
from models.schema import FieldType

# -- stages ------------------------------------------------------------------------------------------------------------


async def add_stage(
    uow: UnitOfWork,
    *,
    version_id: UUID,
    values: Mapping[str, Any],
    parent_id: UUID | None = None,
    position: int | None = None,
) -> UUID:
    """Add a stage at the top or below another one; without a code it gets one from its label. Returns its id.

    Raises:
        Conflict: the version is no draft, or has a stage of this code.
        ValidationFailed: fields of it, by path.
    """
    authorize(uow, "configure", "workflow_version")
    draft = await lock_draft(uow, version_id)
    if parent_id is not None:
        await require_part(uow, "stage", parent_id, draft, "parent")
    given = {**await with_code(uow, "stage", draft, values), "version": str(draft.id)}
    made = await create_record(uow, "stage", {**given, "parent": None if parent_id is None else str(parent_id)})
    await place(uow, draft, "stage", id_of(made), owner=parent_id, position=position)
    return id_of(made)


async def change_stage(
    uow: UnitOfWork, *, stage_id: UUID, values: Mapping[str, Any], expected_version: int
) -> dict[str, Any]:
    """Change fields of a stage, not its place; return it."""
    return await _change(uow, "stage", stage_id, values, expected_version)


async def move_stage(
    uow: UnitOfWork, *, stage_id: UUID, parent_id: UUID | None, position: int | None = None, expected_version: int
) -> None:
    """Put a stage, with all that is in it, below another one or at the top; position 0 is first, None last.

    Raises:
        Conflict: below itself, or the version is no draft.
    """
    decision = authorize(uow, "configure", "workflow_version")
    draft = await lock_draft(uow, await version_of(uow, "stage", stage_id))
    row = await lock_item(uow, "stage", stage_id, expected_version)
    stages = uow.table("stage")
    if parent_id is not None:
        await require_part(uow, "stage", parent_id, draft, "parent")
        above = await uow.scalar(select(stages.c.path).where(stages.c.id == parent_id))
        if stage_id.hex in str(above).split("."):
            raise Conflict(f"“{row['label']}” cannot be put below itself; choose a stage outside of it.")
    await uow.execute(
        update(stages).where(stages.c.id == stage_id).values(parent_id=parent_id, **changed_stamp(uow, row))
    )
    await place(uow, draft, "stage", stage_id, owner=parent_id, position=position)
    places = {"before": {"parent": row["parent_id"], "rank": row["rank"]}, "after": {"parent": parent_id}}
    record_change(uow, decision, draft, "stage.move", stage_id, **places)


async def remove_stage(uow: UnitOfWork, *, stage_id: UUID, expected_version: int) -> Contents:
    """Remove a stage with its stages, processes and their dependencies; return what has gone."""
    decision = authorize(uow, "configure", "workflow_version")
    draft = await lock_draft(uow, await version_of(uow, "stage", stage_id))
    row = await lock_item(uow, "stage", stage_id, expected_version)
    gone = await contents(uow, stage_id=stage_id)
    stages = uow.table("stage")
    await uow.execute(delete(stages).where(stages.c.id == stage_id))
    await arrange(uow, draft.id)
    record_change(uow, decision, draft, "stage.delete", stage_id, before=said(row, gone))
    return gone


# -- processes ---------------------------------------------------------------------------------------------------------


async def add_process(
    uow: UnitOfWork, *, version_id: UUID, stage_id: UUID, values: Mapping[str, Any], position: int | None = None
) -> UUID:
    """Add a process to a stage; without a code it gets one from its label. Returns its id.

    Raises:
        Conflict: the version is no draft, or has a process of this code.
        ValidationFailed: fields of it, by path.
    """
    authorize(uow, "configure", "workflow_version")
    draft = await lock_draft(uow, version_id)
    await require_part(uow, "stage", stage_id, draft, "stage")
    given = await with_code(uow, "process", draft, values)
    made = await create_record(uow, "process", {**given, "version": str(draft.id), "stage": str(stage_id)})
    await place(uow, draft, "process", id_of(made), owner=stage_id, position=position)
    return id_of(made)


async def change_process(
    uow: UnitOfWork, *, process_id: UUID, values: Mapping[str, Any], expected_version: int
) -> dict[str, Any]:
    """Change fields and lines of a process, not its place; return it."""
    return await _change(uow, "process", process_id, values, expected_version)


async def move_process(
    uow: UnitOfWork, *, process_id: UUID, stage_id: UUID, position: int | None = None, expected_version: int
) -> None:
    """Put a process at a place in a stage; position 0 is first, None last. Its dependencies stay."""
    decision = authorize(uow, "configure", "workflow_version")
    draft = await lock_draft(uow, await version_of(uow, "process", process_id))
    row = await lock_item(uow, "process", process_id, expected_version)
    await require_part(uow, "stage", stage_id, draft, "stage")
    table = uow.table("process")
    await uow.execute(
        update(table).where(table.c.id == process_id).values(stage_id=stage_id, **changed_stamp(uow, row))
    )
    await place(uow, draft, "process", process_id, owner=stage_id, position=position)
    places = {"before": {"stage": row["stage_id"], "rank": row["rank"]}, "after": {"stage": stage_id}}
    record_change(uow, decision, draft, "process.move", process_id, **places)


async def duplicate_process(uow: UnitOfWork, *, process_id: UUID, expected_version: int) -> UUID:
    """Copy a process with its lines, right behind it and without dependencies; return the copy's id."""
    decision = authorize(uow, "configure", "workflow_version")
    draft = await lock_draft(uow, await version_of(uow, "process", process_id))
    row = await lock_item(uow, "process", process_id, expected_version)
    taken = await codes_of(uow, "process", draft.id)
    copy = uuid7()
    stamp = new_stamp(uow)
    values = {name: value for name, value in row.items() if name not in NOT_COPIED}
    values |= {"id": copy, "code": free_code(f"{row['code']}_copy", taken), "label": f"{row['label']} (copy)"[:200]}
    await uow.execute(insert(uow.table("process")).values({**values, **stamp}))
    for field in uow.registry.entity("process").fields:
        if field.type is FieldType.LINES and field.target:
            lines = uow.table(field.target)
            found = (await uow.execute(select(lines).where(lines.c.parent_id == process_id))).mappings().all()
            copied = [
                {**{n: v for n, v in line.items() if n not in NOT_COPIED}, "id": uuid7(), "parent_id": copy, **stamp}
                for line in found
            ]
            if copied:
                await uow.execute(insert(lines), copied)
    await arrange(uow, draft.id, moved=copy, key=row["rank"] * 2 + 1)
    after = {"code": values["code"], "copied_from": row["code"]}
    record_change(uow, decision, draft, "process.create", copy, after=after)
    return copy


async def remove_process(uow: UnitOfWork, *, process_id: UUID, expected_version: int) -> Contents:
    """Remove a process with its lines and dependencies; return what has gone."""
    decision = authorize(uow, "configure", "workflow_version")
    draft = await lock_draft(uow, await version_of(uow, "process", process_id))
    row = await lock_item(uow, "process", process_id, expected_version)
    gone = await contents(uow, process_id=process_id)
    table = uow.table("process")
    await uow.execute(delete(table).where(table.c.id == process_id))
    await arrange(uow, draft.id)
    record_change(uow, decision, draft, "process.delete", process_id, before=said(row, gone))
    return gone


async def step(uow: UnitOfWork, *, entity: str, item_id: UUID, by: int, expected_version: int) -> None:
    """Move a stage or a process among its neighbours: `by` -1 is one up, 1 one down. At the end nothing moves."""
    table = uow.table(entity)
    owner = table.c.parent_id if entity == "stage" else table.c.stage_id
    row = (await uow.execute(select(table.c.version_id, owner.label("owner")).where(table.c.id == item_id))).first()
    if row is None:
        raise NotFound(f"There is no such {entity} any more; somebody may have removed it.")
    order = [id_ for id_, _ in await beside(uow, entity, row.version_id, row.owner)]
    position = min(max(order.index(item_id) + by, 0), len(order) - 1)
    if entity == "stage":
        await move_stage(
            uow, stage_id=item_id, parent_id=row.owner, position=position, expected_version=expected_version
        )
    else:
        await move_process(
            uow, process_id=item_id, stage_id=row.owner, position=position, expected_version=expected_version
        )


# -- dependencies ------------------------------------------------------------------------------------------------------


async def add_dependency(uow: UnitOfWork, *, version_id: UUID, values: Mapping[str, Any]) -> UUID:
    """Let one process of the draft wait for another; return the dependency's id.

    Raises:
        Conflict: the version is no draft, or the two depend on each other already.
        ValidationFailed: fields of it, by path; a process of another version.
    """
    authorize(uow, "configure", "workflow_version")
    draft = await lock_draft(uow, version_id)
    await require_ends(uow, draft, values)
    return id_of(await create_record(uow, "process_dependency", {**values, "version": str(draft.id)}))


async def change_dependency(
    uow: UnitOfWork, *, dependency_id: UUID, values: Mapping[str, Any], expected_version: int
) -> dict[str, Any]:
    """Change a dependency; return it."""
    authorize(uow, "configure", "workflow_version")
    draft = await lock_draft(uow, await version_of(uow, "process_dependency", dependency_id))
    await lock_item(uow, "process_dependency", dependency_id, expected_version)
    await require_ends(uow, draft, values)
    return await update_record(
        uow, "process_dependency", dependency_id, dict(values), expected_version=expected_version
    )


async def remove_dependency(uow: UnitOfWork, *, dependency_id: UUID, expected_version: int) -> None:
    """Remove a dependency of a draft."""
    decision = authorize(uow, "configure", "workflow_version")
    draft = await lock_draft(uow, await version_of(uow, "process_dependency", dependency_id))
    row = await lock_item(uow, "process_dependency", dependency_id, expected_version)
    table = uow.table("process_dependency")
    await uow.execute(delete(table).where(table.c.id == dependency_id))
    before = {str(name): value for name, value in row.items() if name not in NOT_COPIED and value is not None}
    record_change(uow, decision, draft, "process_dependency.delete", dependency_id, before=before)


async def _change(
    uow: UnitOfWork, entity: str, id_: UUID, values: Mapping[str, Any], expected_version: int
) -> dict[str, Any]:
    authorize(uow, "configure", "workflow_version")
    await lock_draft(uow, await version_of(uow, entity, id_))
    await lock_item(uow, entity, id_, expected_version)
    given = {name: value for name, value in values.items() if name not in PLACED}
    problems = code_problems(given.get("code")) if "code" in given else []
    if problems:
        raise ValidationFailed(problems)
    return await update_record(uow, entity, id_, given, expected_version=expected_version)
