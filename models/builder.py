"""Entity definitions -> mapped SQLAlchemy classes and their tables."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.orm import DeclarativeBase, relationship

from models import expressions
from models.base import new_base, standard_columns
from models.fieldtypes import FIELD_TYPES, kind_of
from models.fieldtypes.structure import ComputedValue
from models.schema import ConstraintDef, EntityDef, EntityKind, FieldDef, FieldType, IndexDef
from models.types import Ltree


@dataclass(frozen=True)
class BuiltModels:
    """Everything mapped from one set of definitions, in a SQLAlchemy registry of its own."""

    base: type[DeclarativeBase]
    classes: Mapping[str, type[Any]]

    @property
    def metadata(self) -> MetaData:
        return self.base.metadata

    def table(self, entity: str) -> Table:
        table: Table = self.classes[entity].__table__
        return table


def build_models(entities: Iterable[EntityDef]) -> BuiltModels:
    """Map every entity. References and child lines are resolved by table name, so the order does not matter."""
    entities = tuple(entities)
    base = new_base()
    tables = {entity.name: entity.qualified_table for entity in entities}
    parents = {
        field.target: entity
        for entity in entities
        for field in entity.fields
        if field.type is FieldType.LINES and field.target
    }
    classes: dict[str, type[Any]] = {}
    for entity in entities:
        columns = _columns(entity, tables, parents.get(entity.name))
        parts = (*columns, *_constraints(entity))
        table = Table(entity.table_name, base.metadata, *parts, comment=entity.label, schema=entity.schema_name)
        _add_indexes(entity, table)
        classes[entity.name] = _map_class(base, entity, table)
    for entity in entities:
        _add_relationships(entity, classes)
    base.registry.configure()
    return BuiltModels(base, classes)


def _columns(entity: EntityDef, tables: Mapping[str, str], parent: EntityDef | None) -> list[Column[Any]]:
    columns = standard_columns(soft_delete=entity.soft_delete)
    if entity.kind is EntityKind.CHILD and parent is not None:
        key = ForeignKey(f"{parent.qualified_table}.id", ondelete="CASCADE")
        columns.append(Column("parent_id", Uuid, key, nullable=False, index=True))
        columns.append(Column("position", Integer, nullable=False, default=0, server_default="0"))
    if entity.kind is EntityKind.TREE:
        columns.append(Column("path", Ltree, nullable=False))
    for field in entity.fields:
        if field.type is FieldType.COMPUTED or field.is_live_lookup:
            continue
        for number, column in enumerate(_field_columns(field, tables)):
            column.comment = field.label if number == 0 else None
            if field.required and field.required_if is None and not field.visible_if:
                column.nullable = False
            if field.index and number == 0:
                column.index = True
            columns.append(column)
    columns += _generated_columns(entity)
    return columns


def _field_columns(field: FieldDef, tables: Mapping[str, str]) -> list[Column[Any]]:
    if field.type is FieldType.SEQUENCE:
        return [Column(field.column, Integer, Identity(always=False), nullable=False)]
    columns = FIELD_TYPES[field.type].columns(field)
    if field.is_reference and field.target and tables.get(field.target) != field.target:
        old = next(iter(columns[0].foreign_keys))
        key = ForeignKey(f"{tables[field.target]}.id", ondelete=old.ondelete)
        columns[0] = Column(field.column, Uuid, key, nullable=True, index=True)
    return columns


def _generated_columns(entity: EntityDef) -> list[Column[Any]]:
    stored = [field for field in entity.fields if field.type is FieldType.COMPUTED and field.stored]
    computed_kind = FIELD_TYPES[FieldType.COMPUTED]
    assert isinstance(computed_kind, ComputedValue)
    columns = {field.name: field.column for field in entity.fields if field.type is not FieldType.COMPUTED}
    return [
        computed_kind.generated(
            field, kind_of(field).columns(field)[0], expressions.to_sql(field.computed or "", columns)
        )
        for field in stored
    ]


def _constraints(entity: EntityDef) -> list[CheckConstraint | UniqueConstraint]:
    result: list[CheckConstraint | UniqueConstraint] = []
    for constraint in entity.constraints:
        if constraint.kind == "check":
            # The full name is given, so that the convention does not put the table's name in front of it again.
            result.append(CheckConstraint(text(constraint.check or "true"), name=_full_name(entity, constraint)))
        elif not constraint.where:
            columns = [_column_of(entity, name) for name in constraint.fields]
            result.append(UniqueConstraint(*columns, name=_full_name(entity, constraint)))
    for field in entity.fields:
        if field.type is FieldType.CHOICE:
            values = ", ".join("'" + option.value.replace("'", "''") + "'" for option in field.options)
            result.append(CheckConstraint(text(f"{field.column} IN ({values})"), name=f"{field.name}_choice"))
        if field.unique:
            result.append(UniqueConstraint(field.column, name=f"uq_{entity.table_name}_{field.column}"))
    return result


def constraint_name(entity: EntityDef, constraint: ConstraintDef) -> str:
    """The name a constraint has in the database, by which its message is found again."""
    prefix = "ck" if constraint.kind == "check" else "uq"
    return f"{prefix}_{entity.table_name}_{constraint.name}"


def _full_name(entity: EntityDef, constraint: ConstraintDef) -> str:
    return constraint.name if constraint.kind == "check" else constraint_name(entity, constraint)


def _column_of(entity: EntityDef, name: str) -> str:
    return entity.field(name).column if entity.has_field(name) else name


def _add_indexes(entity: EntityDef, table: Table) -> None:
    if entity.kind is EntityKind.TREE:
        Index(f"ix_{entity.table_name}_path", table.c.path, postgresql_using="gist")
    for index in (*entity.indexes, *_partial_unique(entity)):
        columns = [table.c[_column_of(entity, name)] for name in index.fields]
        options: dict[str, Any] = {"postgresql_using": index.method} if index.method != "btree" else {}
        if index.where:
            options["postgresql_where"] = text(index.where)
        if index.opclass:
            options["postgresql_ops"] = {column.name: index.opclass for column in columns}
        Index(index.name, *columns, unique=index.unique, **options)


def _partial_unique(entity: EntityDef) -> list[IndexDef]:
    """A unique constraint with a condition can only be an index in PostgreSQL."""
    return [
        IndexDef(name=constraint_name(entity, c), fields=c.fields, where=c.where, unique=True)
        for c in entity.constraints
        if c.kind == "unique" and c.where
    ]


def _map_class(base: type[DeclarativeBase], entity: EntityDef, table: Table) -> type[Any]:
    name = "".join(part.capitalize() for part in entity.name.split("_"))
    mapped = type(name, (base,), {"__table__": table, "__mapper_args__": {"version_id_col": table.c.row_version}})
    mapped.__steps_entity__ = entity  # type: ignore[attr-defined]
    return mapped


def _add_relationships(entity: EntityDef, classes: Mapping[str, type[Any]]) -> None:
    """Attach `lazy="raise"` relationships: what a page needs is loaded where it is written that it is."""
    mapped = classes[entity.name]
    by_child: dict[str, list[FieldDef]] = defaultdict(list)
    for field in entity.fields:
        if field.is_reference and field.target:
            column = mapped.__table__.c[field.column]
            target = classes[field.target]
            mapped.__mapper__.add_property(
                field.name,
                relationship(
                    target, foreign_keys=[column], remote_side=[target.__table__.c.id], lazy="raise", viewonly=True
                ),
            )
        elif field.type is FieldType.LINES and field.target:
            by_child[field.target].append(field)
    for child, fields in by_child.items():
        target = classes[child]
        mapped.__mapper__.add_property(
            fields[0].name,
            relationship(
                target,
                primaryjoin=target.__table__.c.parent_id == mapped.__table__.c.id,
                foreign_keys=[target.__table__.c.parent_id],
                order_by=target.__table__.c.position,
                lazy="raise",
                viewonly=True,
            ),
        )
