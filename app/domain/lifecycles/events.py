"""What lifecycles tell the other features, inside the transaction in which it happened."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from app.core.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecyclePublished(Event):
    lifecycle_id: UUID
    version_id: UUID
    entity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordTransitioned(Event):
    """A record took a step of its lifecycle; `name` is the transition."""

    entity: str
    record_id: UUID
    name: str
    from_state: str
    to_state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordEventEmitted(Event):
    """The effect `emit`: a name that an administrator gave."""

    entity: str
    record_id: UUID
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordNoticeWanted(Event):
    """The effect `notify`: to the holders of `roles` where the record lies, and to `user_ids`."""

    entity: str
    record_id: UUID
    title: str
    roles: tuple[str, ...]
    user_ids: tuple[UUID, ...]
    subject: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunWanted(Event):
    """The effect `start_run`."""

    entity: str
    record_id: UUID
    workflow: str
    business_date: date
    values: Mapping[str, Any]
