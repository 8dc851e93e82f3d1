"""One row of every entity for each of several owners, made from the metadata alone, so that new entities join in."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from app.api.schemas import example_value
from app.core.uow import UnitOfWork
from models.base import uuid7
from models.registry import Registry
from models.schema import EntityDef, EntityKind, FieldDef, FieldType
from tests.factories import add_row

TEXTUAL = (FieldType.TEXT, FieldType.LONG_TEXT, FieldType.MARKDOWN, FieldType.CODE)

# Columns that a constraint of the entity ties to others, or that must not be filled at random.
GIVEN: Mapping[str, Mapping[str, Any]] = {
    "role_grant": {"valid_until": None, "revoked_at": None},
    "hierarchy_node": {"valid_to": None},
    "hierarchy_node_version": {"valid_to": None},
    "escalation": {"plan": [], "next_at": None, "clock_id": None},
    "escalation_event": {"user_ids": []},
    "job_attempt": {"log": []},
    "worker": {"running": [], "works": {}},
    "sla_clock": {"next_fire_at": None},
    "user": {"locked_until": None, "deleted_at": None, "landing_page": "/"},
    "saved_view": {"shared": False},
    "process_candidate": {"user_id": None},
    "migration_plan": {"mapping": []},
    "migration_item": {"outcome": None},
    "delegation": {"valid_until": datetime(2099, 1, 1, tzinfo=UTC), "revoked_at": None},
    "file": {"deleted_at": None},
    "process_dependency": {"other_workflow_id": None, "other_process": None, "run_selector": None},
    "process_run": {
        "makers": [],
        "signers": [],
        "state_before_hold": None,
        "state_before_stale": None,
        "level_due": {},
        "arrival": None,
        "routed": None,
        "signed_content": None,
    },
    "process_edge": {
        "edge_type": "FS",
        "hardness": "hard",
        "lag_unit": None,
        "lag_amount": None,
        "condition": None,
        "outcome": None,
    },
    "run_forecast": {"critical_path": []},
    "process_query": {"asked_role": None, "asked_group_id": None, "answered_at": None, "closed_at": None},
    "query_message": {"mentions": None, "earlier": None},
    "notification_rule": {"condition": None},
    "mail_message": {"not_before": None, "html_body": None},
}

# Entities whose key is made of choices: each owner has another one.
KEYED_BY_CHOICES = frozenset({"issue_priority"})

# Entities whose row refers to two different rows of one entity.
BETWEEN_TWO = frozenset({"process_dependency", "delegation"})


class Rows:
    """Rows that carry a mark in every text. `ids`: entity -> row."""

    def __init__(self, uow: UnitOfWork, mark_of: Callable[[EntityDef], str], given: Mapping[str, UUID]) -> None:
        """`given`: rows that are there already, by entity: the node, the user and the application they belong to."""
        self.uow = uow
        self.registry: Registry = uow.registry
        self.mark_of = mark_of
        self.ids: dict[str, UUID] = {}
        self.given = given
        self.duration: timedelta | None = None
        self._open: set[str] = set()
        self._number = 0

    async def make_all(self) -> None:
        for entity in self.registry.entities.values():
            await self.make(entity.name)

    async def make(self, name: str) -> UUID | None:
        """The row of an entity, made with what it refers to; None inside a circle of references."""
        if name in self.given:
            return self.given[name]
        if name in self.ids:
            return self.ids[name]
        if name in self._open:
            return None
        self._open.add(name)
        entity = self.registry.entity(name)
        id_ = uuid7()
        columns: dict[str, Any] = {}
        for field in entity.fields:
            value = await self._value(entity, field)
            if name in BETWEEN_TWO and field.is_reference and value[field.column] in columns.values():
                value = {field.column: await self._another(field.target or "")}
            columns |= value
        if entity.kind is EntityKind.CHILD:
            parent, _ = self.registry.parents[name]
            columns |= {"parent_id": await self.make(parent.name), "position": 0}
        if entity.kind is EntityKind.TREE:
            columns["path"] = id_.hex
        columns |= GIVEN.get(name, {})
        self._open.discard(name)
        if name in self.ids:  # made meanwhile, by way of what it refers to
            return self.ids[name]
        self.ids[name] = await add_row(self.uow, name, id=id_, **columns)
        return self.ids[name]

    def _text(self, field: FieldDef, text: str) -> str:
        """The text where it fits the field; else one that does, with the number in it while there is room."""
        pattern, longest = field.pattern or ".*", field.length or 200
        simple = text.partition(" ")[0]
        for candidate in (text, f"{simple}_{self._number}", f"{simple.upper()}{self._number}", simple):
            if len(candidate) <= longest and re.fullmatch(pattern, candidate):
                return candidate
        example = example_value(field)
        return str(example) if example and re.fullmatch(pattern, str(example)) else text[:longest]

    async def _another(self, name: str) -> UUID | None:
        """A second row of an entity, for a record that refers to two different ones."""
        given, first = self.given, self.ids.pop(name, None)
        self.given = {entity: id_ for entity, id_ in given.items() if entity != name}
        second = await self.make(name)
        self.given = given
        if first is not None:
            self.ids[name] = first
        else:
            del self.ids[name]
        return second

    async def _value(self, entity: EntityDef, field: FieldDef) -> dict[str, Any]:
        if field.type in (FieldType.LINES, FieldType.COMPUTED, FieldType.SEQUENCE) or field.is_live_lookup:
            return {}
        if field.is_reference:
            if field.target == entity.name:
                return {}
            return {field.column: await self.make(field.target or "")}
        self._number += 1
        mark = self.mark_of(entity)
        match field.type:
            case FieldType.MONEY:
                return {field.name: 7, f"{field.name}_currency": "EUR"}
            case FieldType.POLYMORPHIC_REFERENCE:
                return {f"{field.name}_entity": "process_run", f"{field.name}_id": await self.make("process_run")}
            case FieldType.CHOICE:
                number = len(mark) % len(field.options) if entity.name in KEYED_BY_CHOICES else 0
                return {field.name: field.options[number].value}
            case FieldType.MULTI_CHOICE:
                return {field.name: [field.options[0].value]}
            case FieldType.EMAIL:
                return {field.name: f"{mark}{self._number}@bank.example"}
            case FieldType.URL:
                return {field.name: f"https://bank.example/{mark}"}
            case FieldType.PHONE:
                return {field.name: "+49 69 1234567"}
            case FieldType.BOOLEAN:
                return {field.name: True}
            case FieldType.DATE:
                return {field.name: date(2026, 10, 30)}
            case FieldType.DATETIME:
                return {field.name: self.uow.now}
            case FieldType.DURATION:
                return {field.name: self.duration or (timedelta(minutes=5) if field.required else None)}
            case FieldType.TIME:
                return {field.name: time(16, 30)}
            case FieldType.SECRET:
                return {field.name: f"{mark} secret {self._number}".encode()}
            case FieldType.JSON:
                return {field.name: {"of": mark}}
            case _ if field.type in TEXTUAL:
                return {field.name: self._text(field, f"{mark} {entity.name} {self._number}")}
        most = 1 if (field.precision or 99) - (field.scale or 0) < 4 else field.max
        return {field.name: self._number if most is None else min(self._number, int(most))}
