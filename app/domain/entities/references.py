"""Check that what a record refers to is there, and within the actor's own sight."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, Uuid, bindparam, exists, literal, select

from app.core.errors import FieldProblem
from app.core.filters import parse, to_sql
from app.core.uow import UnitOfWork
from app.domain.access.scope import scope_condition, scope_key
from app.domain.entities.queries import variables
from models.schema import EntityDef, FieldDef, FieldType

MOST_KEPT = 20


class _Test(NamedTuple):
    """Is there a record `id` of the entity `target`?"""

    field: FieldDef
    target: str
    id: UUID


async def check_references(
    uow: UnitOfWork, entity: EntityDef, records: Sequence[tuple[str, Mapping[str, Any]]]
) -> list[FieldProblem]:
    """One statement for all references of all records. `records`: (prefix of the problem's path, values to write).

    A record out of scope is answered like one that does not exist, so that nothing can be found out by trying ids.
    """
    tests: list[_Test] = []
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
                test = _test(uow, field, value)
                if test is None:
                    labels.append((f"{prefix}{name}", field))
                    continue
                asked[key] = len(tests)
                tests.append(test)
            places.append((f"{prefix}{name}", field, asked[key]))
    problems = [FieldProblem(path, _missing(uow, field), "not_found") for path, field in labels]
    if tests:
        row = await _answers(uow, tests)
        problems += [FieldProblem(path, _missing(uow, field), "not_found") for path, field, n in places if not row[n]]
    return problems


def _missing(uow: UnitOfWork, field: FieldDef) -> str:
    target = uow.registry.entities.get(field.target or "")
    return f"there is no such {target.label.lower() if target else 'record'}; choose another"


def _test(uow: UnitOfWork, field: FieldDef, value: Any) -> _Test | None:
    target, id_ = value if field.type is FieldType.POLYMORPHIC_REFERENCE else (str(field.target), value)
    return _Test(field, target, id_) if target in uow.registry.entities else None


async def _answers(uow: UnitOfWork, tests: Sequence[_Test]) -> Row[Any]:
    """Whether each is there, in one row. The query of a few is kept, unless a field's filter may ask who or when."""
    keys = [
        None if test.field.reference and test.field.reference.filter else scope_key(uow, "read", test.target)
        for test in tests
    ]

    def query() -> Select[Any]:
        asked: list[Any] = [_exists(uow, test, f"id{n}").label(f"t{n}") for n, test in enumerate(tests)]
        return select(*asked)

    kept = len(tests) <= MOST_KEPT and None not in keys
    statement = uow.resources.policy.kept(("references", *keys), query) if kept else query()
    return (await uow.execute(statement, {f"id{n}": test.id for n, test in enumerate(tests)}, kept=kept)).one()


def _exists(uow: UnitOfWork, test: _Test, id_name: str) -> ColumnElement[bool]:
    field, target = test.field, uow.registry.entity(test.target)
    table = uow.table(target.name).alias()
    statement = select(literal(1)).select_from(table).where(table.c.id == bindparam(id_name, type_=Uuid))
    if "deleted_at" in table.c:
        statement = statement.where(table.c.deleted_at.is_(None))
    if field.reference and field.reference.filter:
        node = parse(field.reference.filter, target, uow.registry)
        statement = statement.where(to_sql(node, uow.registry, variables(uow), table=table))
    condition = scope_condition(uow, "read", target.name, table)
    if condition is not None:
        statement = statement.where(condition)
    return exists(statement)
