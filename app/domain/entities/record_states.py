"""What a lifecycle means for entering and changing records, as a port: the feature itself lies above this one."""

from collections.abc import Mapping
from typing import Any, Protocol
from uuid import UUID

from app.core.errors import FieldProblem, TransitionRefused, ValidationFailed
from app.core.filters import Variables
from app.core.uow import UnitOfWork
from models.schema import EntityDef

SERVICE = "record_states"


class RecordStates(Protocol):
    def first_state(self, entity: str, record: Mapping[str, Any], variables: Variables) -> tuple[UUID, str] | None:
        """The lifecycle version that a new record gets, and the state it begins in."""

    async def refusal(self, uow: UnitOfWork, entity: EntityDef, record: Mapping[str, Any]) -> str | None:
        """Why the actor may not change the record in the state it is in; None when they may."""


def add_first_state(uow: UnitOfWork, entity: EntityDef, values: dict[str, Any], variables: Variables) -> None:
    """Put a new record where its lifecycle begins."""
    port: RecordStates | None = uow.resources.services.get(SERVICE)
    first = port.first_state(entity.name, values, variables) if entity.lifecycle and port is not None else None
    if first is not None:
        values["lifecycle_version"], values[entity.state_field] = first


async def require_editable(
    uow: UnitOfWork,
    entity: EntityDef,
    record: Mapping[str, Any],
    *,
    fields: frozenset[str] = frozenset(),
    open_fields: frozenset[str] = frozenset(),
) -> None:
    """Refuse a change that the record's state does not allow. `open_fields`: those that a step is asking for.

    Raises:
        TransitionRefused: nobody, or only others, may change it in this state.
        ValidationFailed: one of the fields is fixed in this state.
    """
    port: RecordStates | None = uow.resources.services.get(SERVICE)
    state = record.get(entity.state_field)
    if not entity.lifecycle or state is None or port is None:
        return
    fixed = [
        FieldProblem(name, f"cannot be changed in the state {state}", "read_only")
        for name in sorted(fields - open_fields)
        if (allowed := entity.field(name).editable_in_states) is not None and state not in allowed
    ]
    if fixed:
        raise ValidationFailed(fixed)
    if fields and fields <= open_fields:
        return
    refusal = await port.refusal(uow, entity, record)
    if refusal is not None:
        raise TransitionRefused(
            refusal, guard="state", satisfy="Take the step that leads back to a state that allows it."
        )
