"""The metadata that is in force: name -> definition, class and table, under one revision number."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from sqlalchemy import MetaData, Table

from models.builder import BuiltModels, build_models, constraint_name
from models.loader import load_definitions
from models.schema import EntityDef, FieldDef, FieldType


class UnknownEntityError(LookupError):
    """No entity of that name."""


class Registry:
    """One immutable revision of the metadata. A new revision is a new Registry; requests in flight keep theirs."""

    def __init__(self, entities: Iterable[EntityDef], *, revision: int = 1) -> None:
        self.revision = revision
        self.entities: Mapping[str, EntityDef] = {entity.name: entity for entity in entities}
        self.built: BuiltModels = build_models(self.entities.values())

    @cached_property
    def by_slug(self) -> Mapping[str, EntityDef]:
        return {entity.slug: entity for entity in self.entities.values()}

    @cached_property
    def by_table(self) -> Mapping[str, EntityDef]:
        return {entity.table_name: entity for entity in self.entities.values()}

    @cached_property
    def parents(self) -> Mapping[str, tuple[EntityDef, FieldDef]]:
        """Child entity -> the entity and the `lines` field that own its rows."""
        return {
            field.target: (entity, field)
            for entity in self.entities.values()
            for field in entity.fields
            if field.type is FieldType.LINES and field.target
        }

    @cached_property
    def constraint_messages(self) -> Mapping[str, str]:
        """Constraint name in the database -> what a person reads when it refuses a row."""
        messages = {}
        for entity in self.entities.values():
            for constraint in entity.constraints:
                messages[constraint_name(entity, constraint)] = constraint.message
            for field in entity.fields:
                if field.unique:
                    name = f"uq_{entity.table_name}_{field.column}"
                    messages[name] = f"There is a {entity.label.lower()} with this {field.label.lower()} already."
        return messages

    @property
    def metadata(self) -> MetaData:
        return self.built.metadata

    def entity(self, name: str) -> EntityDef:
        """Raises UnknownEntityError."""
        try:
            return self.entities[name]
        except KeyError:
            raise UnknownEntityError(f"there is no entity {name!r}") from None

    def table(self, name: str) -> Table:
        """Raises UnknownEntityError."""
        self.entity(name)
        return self.built.table(name)

    def model(self, name: str) -> type[Any]:
        """The mapped class. Raises UnknownEntityError."""
        self.entity(name)
        return self.built.classes[name]


def product_registry() -> Registry:
    """The registry of the definitions that ship with the product."""
    return Registry(load_definitions())
