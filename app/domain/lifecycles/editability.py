"""Entering and changing records that follow a lifecycle: where they begin, and who may change them in which state."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.core.filters import Variables
from app.core.uow import UnitOfWork
from app.domain.lifecycles.compiled import Lifecycles
from app.domain.lifecycles.store import version_of
from models.schema import EntityDef


@dataclass(frozen=True, slots=True)
class LifecycleStates:
    """The port `app.domain.entities.record_states.RecordStates`."""

    known: Lifecycles

    def first_state(self, entity: str, record: Mapping[str, Any], variables: Variables) -> tuple[UUID, str] | None:
        version = self.known.for_new(entity, record, variables)
        return None if version is None else (version.version_id, version.definition.initial)

    async def refusal(self, uow: UnitOfWork, entity: EntityDef, record: Mapping[str, Any]) -> str | None:
        if uow.actor.is_system or record.get("lifecycle_version") is None:
            return None
        lifecycle = await version_of(uow, record["lifecycle_version"])
        state = lifecycle.states.get(record[entity.state_field])
        if state is None or state.editable_by is None:
            return None
        title = record.get(entity.title_field) or entity.label
        if not state.editable_by:
            return f"“{title}” is “{state.label}”, and nobody changes it in this state."
        policy = uow.resources.policy
        roles = frozenset(role for grant in uow.actor.grants for role in policy.acts_as(grant.role))
        if roles & frozenset(state.editable_by):
            return None
        who = " or ".join(state.editable_by)
        return f"“{title}” is “{state.label}”; in this state only the role {who} changes it."
