"""The statements that write records: made once for each entity and combination of columns, then kept."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BindParameter,
    Select,
    Table,
    Update,
    Uuid,
    any_,
    bindparam,
    exists,
    insert,
    literal,
    select,
    update,
)

from app.core.errors import Forbidden, NotFound, StaleVersion
from app.core.uow import UnitOfWork
from app.domain.access.scope import scope_condition, scope_key
from app.domain.entities.codec import Codec, codec_of
from models.base import uuid7
from models.schema import EntityDef, EntityKind, FieldType


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record comes from that began its life before it was entered."""

    id: UUID
    at: datetime


async def insert_records(
    uow: UnitOfWork, entity: EntityDef, records: Sequence[Mapping[str, Any]], origins: Sequence[Origin] | None
) -> list[dict[str, Any]]:
    """Insert rows of checked values; return them as they are in the table, in the same order."""
    table = uow.table(entity.name)
    codec = codec_of(uow.registry, entity.name)
    stamp = {
        "row_version": 1,
        "created_at": uow.now,
        "created_by": uow.actor.id,
        "updated_at": uow.now,
        "updated_by": uow.actor.id,
    }
    rows = [{**_encrypted(uow, entity, codec.columns(values)), **stamp, "id": uuid7()} for values in records]
    for row, origin in zip(rows, origins or (), strict=False):
        row |= {"id": origin.id, "created_at": origin.at, "updated_at": origin.at}
    if entity.kind is EntityKind.TREE:
        await _add_paths(uow, entity, rows)
    names = {name for row in rows for name in row}
    rows = [{name: row.get(name) for name in names} for row in rows]
    if len(rows) == 1:
        key = ("insert", uow.registry, entity.name, frozenset(names))
        one = uow.resources.policy.kept(key, lambda: insert(table).values(_bound(table, names)).returning(*table.c))
        return [dict(row) for row in (await uow.execute(one, _values(rows[0]), kept=True)).mappings()]
    statement = insert(table).returning(*table.c, sort_by_parameter_order=True)
    return [dict(row) for row in (await uow.execute(statement, rows)).mappings()]


async def _add_paths(uow: UnitOfWork, entity: EntityDef, rows: Sequence[dict[str, Any]]) -> None:
    """The materialised path of each new tree record: that of its parent and its own id."""
    table = uow.table(entity.name)
    parents = [row["parent_id"] for row in rows if row.get("parent_id")]
    found = await uow.execute(select(table.c.id, table.c.path).where(table.c.id.in_(parents))) if parents else ()
    paths = {row.id: row.path for row in found}
    for row in rows:
        above = paths.get(row.get("parent_id"))
        row["path"] = f"{above}.{row['id'].hex}" if above else row["id"].hex


async def update_row(
    uow: UnitOfWork, entity: EntityDef, codec: Codec, before: Mapping[str, Any], changed: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the changed fields of a record that is locked; return the record."""
    table = uow.table(entity.name)
    values = _encrypted(uow, entity, codec.columns(changed))
    stamp = {"row_version": before["row_version"] + 1, "updated_at": uow.now, "updated_by": uow.actor.id}
    row = {**values, **stamp}

    def query() -> Update:
        here = table.c.id == bindparam("record_id", type_=Uuid)
        return update(table).where(here).values(_bound(table, row)).returning(*table.c)

    one = uow.resources.policy.kept(("update", uow.registry, entity.name, frozenset(row)), query)
    written = await uow.execute(one, {"record_id": before["id"], **_values(row)}, kept=True)
    return codec.record(written.mappings().one())


async def lock_record(
    uow: UnitOfWork, entity: EntityDef, codec: Codec, record_id: UUID, expected_version: int
) -> dict[str, Any]:
    """The record, locked until the end of the transaction. Raises NotFound, StaleVersion."""
    table = uow.table(entity.name)

    def query() -> Select[Any]:
        return select(table).where(table.c.id == bindparam("record_id", type_=Uuid)).with_for_update()

    lock = uow.resources.policy.kept(("lock", uow.registry, entity.name), query)
    row = (await uow.execute(lock, {"record_id": record_id}, kept=True)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"There is no such {entity.label.lower()}.")
    if row["row_version"] != expected_version:
        raise StaleVersion(
            f"This {entity.label.lower()} was changed since you opened it (version {row['row_version']}, yours was "
            f"{expected_version}). Load it again and repeat your change.",
            context={"current_version": row["row_version"], "expected_version": expected_version},
        )
    return codec.record(row)


async def require_inside(uow: UnitOfWork, action: str, entity: EntityDef, ids: Sequence[UUID]) -> None:
    """A written record must lie where its writer may write: nobody can put one into a part they do not have."""
    table = uow.table(entity.name)
    condition = scope_condition(uow, action, entity.name, table)
    if condition is None:
        return
    inside = table.c.id == any_(bindparam("ids", type_=ARRAY(Uuid)))

    def query() -> Select[Any]:
        return select(exists(select(literal(1)).where(inside, ~condition)))

    key = scope_key(uow, action, entity.name)
    outside = query() if key is None else uow.resources.policy.kept(("outside", key), query)
    if (await uow.execute(outside, {"ids": list(ids)}, kept=key is not None)).scalar():
        where = entity.field(entity.scope_field.split(".")[0]).label if entity.scope_field else "application"
        raise Forbidden(f"You may not keep a {entity.label.lower()} there; choose a {where.lower()} that you work on.")


def _encrypted(uow: UnitOfWork, entity: EntityDef, columns: Mapping[str, Any]) -> dict[str, Any]:
    secrets = {field.column for field in entity.fields if field.type is FieldType.SECRET}
    box = uow.resources.services.get("secret_box") if secrets else None
    return {
        name: box.encrypt(value) if box is not None and name in secrets and value is not None else value
        for name, value in columns.items()
    }


def _bound(table: Table, names: Iterable[str]) -> dict[str, BindParameter[Any]]:
    """A parameter for each column; one that is named like its column would be SQLAlchemy's own."""
    return {name: bindparam(f"to_{name}", type_=table.c[name].type) for name in names}


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    return {f"to_{name}": value for name, value in row.items()}
