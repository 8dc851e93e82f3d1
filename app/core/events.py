"""Domain events: frozen facts in the past tense, ids only.

Handlers run inside the transaction that emitted the event; which handler hears which event is one table in
`app.bootstrap`. Work that may happen later is a job in the outbox (`uow.enqueue`).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from app.core.uow import UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordCreated(Event):
    entity: str
    record_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordUpdated(Event):
    entity: str
    record_id: UUID
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordDeleted(Event):
    entity: str
    record_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFailed(Event):
    """A message did not reach its recipient and never will. `user_id` None: it was for a channel of a team.

    `rule`: the code of the rule that gave it. `record_id`: what it was about, where it was about one record.
    """

    delivery_id: UUID
    channel: str
    rule: str | None
    user_id: UUID | None
    record_entity: str | None
    record_id: UUID | None
    error: str


Handler = Callable[["UnitOfWork", Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Gathered:
    """A handler that hears all events of one round together, in their order: a thousand changes are one statement."""

    handle: Callable[["UnitOfWork", Sequence[Any]], Awaitable[None]]


Handlers = Mapping[type[Event], tuple[Handler | Gathered, ...]]
