"""Who asks for what: the actor with the grants that count, and the command."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from app.core.actor import Actor, Grant
from app.domain.workflow.authority import Standing
from app.domain.workflow.states import Name

MAX_REASON = 2_000


class Placed(Protocol):
    """Something in an application, at a node of a hierarchy."""

    @property
    def application(self) -> str: ...
    @property
    def node_path(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Acting:
    """Who acts, and the grants by which the policy allows them this transition; `wide` counts in every application.

    By the authority of somebody else (`actor.on_behalf_of`) grants and groups are that person's. `standings`: for whom
    the actor and that person stand or stood in.
    """

    actor: Actor
    grants: tuple[Grant, ...]
    wide: frozenset[UUID] = frozenset()
    groups: frozenset[UUID] = frozenset()
    standings: tuple[Standing, ...] = ()
    at: datetime | None = None

    @property
    def ids(self) -> tuple[UUID, ...]:
        """The actor, and whose authority they use."""
        return tuple(id_ for id_ in (self.actor.id, self.actor.on_behalf_of) if id_ is not None)

    @property
    def authority_id(self) -> UUID | None:
        """The person whose rights are used."""
        return self.actor.on_behalf_of or self.actor.id

    def standing_for(self, people: Collection[UUID], place: Placed, since: datetime | None) -> Standing | None:
        """Where one of `ids` stands in for one of these people, or did at some moment since then."""
        if self.at is None:
            return None
        for standing in self.standings:
            mine = standing.delegate in self.ids and standing.delegator in people
            if mine and standing.overlaps(place.application, since or self.at, self.at):
                return standing
        return None

    def grant_for(self, place: Placed, role: str | None = None) -> Grant | None:
        """The grant that reaches the place: its application, its node or one above it, and the role if one is named."""
        for grant in self.grants:
            if (role is None or grant.role == role) and self._reaches(grant, place):
                return grant
        return None

    def _reaches(self, grant: Grant, place: Placed) -> bool:
        return self._counts(grant, place) and (grant.node_id is None or is_under(place.node_path, grant.node_path))

    def sees(self, place: Placed) -> bool:
        """Whether these grants, taken as grants to read, show what is there: from above it and from below it."""
        return self.actor.is_system or any(
            self._reaches(grant, place) or (self._counts(grant, place) and is_under(grant.node_path, place.node_path))
            for grant in self.grants
        )

    def _counts(self, grant: Grant, place: Placed) -> bool:
        return grant.application in (place.application, "*") or grant.id in self.wide


@dataclass(frozen=True, slots=True)
class Command:
    """What was asked for, with what the shell has looked up about it."""

    name: Name
    reason: str | None = None
    comment: str | None = None
    review_by: datetime | None = None
    assignee_id: UUID | None = None
    assignee_may: bool = False  # the assignee has the owner role for this process
    unmet: tuple[str, ...] = ()  # the controls that a skip leaves unmet, in words
    reason_code: str | None = None
    to_level: int | None = None  # of a rejection: the earlier level it goes back to; None: whoever prepared it
    kept_signers: tuple[UUID, ...] = ()  # whose signatures on the levels below that one stay
    fingerprint: str | None = None


def is_under(path: str | None, ancestor: str | None) -> bool:
    return path is not None and ancestor is not None and (path == ancestor or path.startswith(f"{ancestor}."))
