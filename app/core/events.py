"""Domain events: frozen facts in the past tense, ids only.

Handlers run inside the transaction that emitted the event; which handler hears which event is one table in
`app.bootstrap`. Work that may happen later is a job in the outbox (`uow.enqueue`).
"""

from collections.abc import Awaitable, Callable, Mapping
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


Handler = Callable[["UnitOfWork", Any], Awaitable[None]]
Handlers = Mapping[type[Event], tuple[Handler, ...]]
