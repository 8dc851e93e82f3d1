"""Who is acting: a person, a service account, or the platform itself."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from models.base import uuid7

SYSTEM_ID = UUID("00000000-0000-7000-8000-000000000001")


class ActorKind(StrEnum):
    USER = "user"
    SERVICE = "service"
    SYSTEM = "system"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Grant:
    """A role in an application, in force now; `node_id` None means every record of the application."""

    id: UUID
    role: str
    application: str
    node_id: UUID | None = None
    node_path: str | None = None
    valid_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Actor:
    id: UUID | None
    name: str
    kind: ActorKind = ActorKind.USER
    email: str = ""
    grants: tuple[Grant, ...] = ()
    session_id: UUID | None = None
    ip: str | None = None
    on_behalf_of: UUID | None = None
    read_only: bool = False  # a read-only access token
    time_zone: str = "Europe/Berlin"
    correlation_id: UUID = field(default_factory=uuid7)

    @property
    def is_system(self) -> bool:
        return self.kind is ActorKind.SYSTEM

    @property
    def roles(self) -> frozenset[str]:
        return frozenset(grant.role for grant in self.grants)

    def has_role(self, role: str, application: str) -> bool:
        return any(g.role == role and g.application in (application, "*") for g in self.grants)

    def correlated(self, correlation_id: UUID) -> "Actor":
        return replace(self, correlation_id=correlation_id)


def system_actor(name: str = "Engine", *, correlation_id: UUID | None = None) -> Actor:
    """The platform acting by itself: the engine, a schedule, the sweep."""
    return Actor(SYSTEM_ID, name, ActorKind.SYSTEM, correlation_id=correlation_id or uuid7())


ANONYMOUS = Actor(None, "Anonymous", ActorKind.ANONYMOUS)
