"""From an entity's definition to its view: one class per entity and metadata revision, without any code of its own."""

import types
from typing import Any

from admin_views.base import StepsModelView
from models.registry import Registry
from models.schema import EntityDef, EntityKind


def view_class(registry: Registry, entity: EntityDef) -> type[StepsModelView]:
    """The view of an entity. Records that services write, and child lines, can only be read."""
    entered = not entity.managed and entity.kind is not EntityKind.CHILD

    def body(namespace: dict[str, Any]) -> None:
        namespace |= {
            "entity": entity,
            "name": entity.label,
            "name_plural": entity.label_plural,
            "icon": f"ti ti-{entity.icon}",
            "category": entity.module,
            "can_create": entered,
            "can_edit": entered,
            "can_delete": entered,
            "can_export": entity.exportable,
            "can_import": False,
            # SQLAdmin's own lists and forms are not drawn: they need not know the columns.
            "column_list": [],
            "form_columns": [],
        }

    name = f"{registry.model(entity.name).__name__}View"
    view: type[StepsModelView] = types.new_class(name, (StepsModelView,), {"model": registry.model(entity.name)}, body)
    view.identity = entity.slug
    return view


def view_classes(registry: Registry) -> tuple[type[StepsModelView], ...]:
    return tuple(view_class(registry, entity) for entity in registry.entities.values())
