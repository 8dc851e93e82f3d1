"""Segregation of duties over roles: which grants one person must not hold together. Pure rules."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.domain.access.policy_files import Conflict


@dataclass(frozen=True, slots=True)
class HeldGrant:
    """A grant with what overlap depends on. `wide`: it counts in every application. `until` None: without end."""

    role: str
    application: str
    since: datetime
    until: datetime | None = None
    wide: bool = False
    hierarchy_id: UUID | None = None
    path: str | None = None
    id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Breach:
    held: HeldGrant
    conflict: Conflict


def breaches(new: HeldGrant, held: Iterable[HeldGrant], conflicts: Iterable[Conflict]) -> tuple[Breach, ...]:
    """What the new grant contradicts among those that the person holds, or will hold."""
    rules = {frozenset((conflict.role, conflict.other)): conflict for conflict in conflicts}
    return tuple(
        Breach(other, rules[pair])
        for other in held
        if (pair := frozenset((new.role, other.role))) in rules and overlaps(new, other)
    )


def overlaps(one: HeldGrant, other: HeldGrant) -> bool:
    """Whether some record could be reached by both at one time."""
    same_application = one.wide or other.wide or one.application == other.application
    same_time = (one.until is None or other.since < one.until) and (other.until is None or one.since < other.until)
    return same_application and same_time and _same_part(one, other)


def _same_part(one: HeldGrant, other: HeldGrant) -> bool:
    if one.path is None or other.path is None:
        return True
    if one.hierarchy_id != other.hierarchy_id:
        return True  # a desk and a legal entity: the same book may lie in both
    return is_below(one.path, other.path) or is_below(other.path, one.path)


def is_below(path: str, ancestor: str) -> bool:
    """Whether an ltree path is the ancestor's or below it."""
    return path == ancestor or path.startswith(f"{ancestor}.")
