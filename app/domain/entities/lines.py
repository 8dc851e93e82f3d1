"""Child lines: checked like records of their own, and written as a whole with the record that owns them."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert, select, update

from app.core.errors import FieldProblem
from app.core.uow import UnitOfWork
from app.domain.access.fields import writable_fields
from app.domain.entities.codec import codec_of
from app.domain.entities.queries import variables
from app.domain.entities.references import check_references
from app.domain.entities.validation import check
from models.base import uuid7
from models.schema import EntityDef, FieldDef, FieldType


def lines_fields(entity: EntityDef) -> tuple[FieldDef, ...]:
    return tuple(field for field in entity.fields if field.type is FieldType.LINES)


async def check_lines(
    uow: UnitOfWork, field: FieldDef, given: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], list[FieldProblem]]:
    """Parsed lines (with `id` where one was given) and what is wrong with them, by `field.2.name`."""
    child = uow.registry.entity(field.target or "")
    writable = frozenset(f.name for f in writable_fields(uow.resources.policy, uow.actor, child))
    checked: list[dict[str, Any]] = []
    problems: list[FieldProblem] = []
    for number, line in enumerate(given):
        prefix = f"{field.name}.{number}."
        values = {name: value for name, value in line.items() if name != "id"}
        result = check(
            child, uow.registry, values, existing=None, writable=writable, variables=variables(uow), prefix=prefix
        )
        problems += result.problems
        id_ = line.get("id")
        try:
            checked.append({**result.values, "id": UUID(str(id_)) if id_ else None})
        except ValueError:
            problems.append(FieldProblem(f"{prefix}id", "must be the id of a line"))
    if not problems:
        plain = [(f"{field.name}.{n}.", {k: v for k, v in line.items() if k != "id"}) for n, line in enumerate(checked)]
        problems += await check_references(uow, child, plain)
    return checked, problems


async def write_lines(uow: UnitOfWork, field: FieldDef, parent_id: UUID, lines: Sequence[Mapping[str, Any]]) -> None:
    """Make the stored lines equal to these: matched by `id`, the others inserted, those left out deleted."""
    child = uow.registry.entity(field.target or "")
    table = uow.table(child.name)
    codec = codec_of(uow.registry, child.name)
    known = set((await uow.execute(select(table.c.id).where(table.c.parent_id == parent_id))).scalars())
    kept = {line["id"] for line in lines if line.get("id") in known}
    if known - kept:
        await uow.execute(delete(table).where(table.c.id.in_(list(known - kept))))
    new: list[dict[str, Any]] = []
    for position, line in enumerate(lines):
        values = codec.columns({name: value for name, value in line.items() if name != "id"})
        stamped = {**values, "position": position, "updated_at": uow.now, "updated_by": uow.actor.id}
        if line.get("id") in kept:
            statement = update(table).where(table.c.id == line["id"])
            await uow.execute(statement.values(**stamped, row_version=table.c.row_version + 1))
        else:
            ids = {"id": uuid7(), "parent_id": parent_id, "created_at": uow.now, "created_by": uow.actor.id}
            new.append({**stamped, **ids})
    if new:
        columns = {name for row in new for name in row}
        await uow.execute(insert(table), [{name: row.get(name) for name in columns} for row in new])
