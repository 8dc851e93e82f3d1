"""Check that what a record refers to is there, and within the actor's own sight."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, exists, literal, select

from app.core.errors import FieldProblem
from app.core.filters import parse, to_sql
from app.core.uow import UnitOfWork
from app.domain.access.scope import scope_condition
from app.domain.entities.queries import variables
from models.schema import EntityDef, FieldDef, FieldType


async def check_references(
    uow: UnitOfWork, entity: EntityDef, records: Sequence[tuple[str, Mapping[str, Any]]]
) -> list[FieldProblem]:
    """One statement for all references of all records. `records`: (prefix of the problem's path, values to write).

    A record out of scope is answered like one that does not exist, so that nothing can be found out by trying ids.
    """
    tests: list[ColumnElement[bool]] = []
    labels: list[tuple[str, FieldDef]] = []
    asked: dict[tuple[str, Any], int] = {}
    places: list[tuple[str, FieldDef, int]] = []
    for prefix, values in records:
        for name, value in values.items():
            field = entity.field(name)
            if value is None or not (field.is_reference or field.type is FieldType.POLYMORPHIC_REFERENCE):
                continue
            key = (name, value)
            if key not in asked:
                test = _exists(uow, field, value)
                if test is None:
                    labels.append((f"{prefix}{name}", field))
                    continue
                asked[key] = len(tests)
                tests.append(test)
            places.append((f"{prefix}{name}", field, asked[key]))
    problems = [FieldProblem(path, _missing(uow, field), "not_found") for path, field in labels]
    if tests:
        row = (await uow.execute(select(*(test.label(f"t{n}") for n, test in enumerate(tests))))).one()
        problems += [FieldProblem(path, _missing(uow, field), "not_found") for path, field, n in places if not row[n]]
    return problems


def _missing(uow: UnitOfWork, field: FieldDef) -> str:
    target = uow.registry.entities.get(field.target or "")
    return f"there is no such {target.label.lower() if target else 'record'}; choose another"


def _exists(uow: UnitOfWork, field: FieldDef, value: Any) -> ColumnElement[bool] | None:
    target_name, id_ = value if field.type is FieldType.POLYMORPHIC_REFERENCE else (str(field.target), value)
    if target_name not in uow.registry.entities:
        return None
    target = uow.registry.entity(target_name)
    table = uow.table(target.name).alias()
    statement = select(literal(1)).select_from(table).where(table.c.id == id_)
    if "deleted_at" in table.c:
        statement = statement.where(table.c.deleted_at.is_(None))
    if field.reference and field.reference.filter:
        node = parse(field.reference.filter, target, uow.registry)
        statement = statement.where(to_sql(node, uow.registry, variables(uow), table=table))
    condition = scope_condition(uow, "read", target.name, table)
    if condition is not None:
        statement = statement.where(condition)
    return exists(statement)
