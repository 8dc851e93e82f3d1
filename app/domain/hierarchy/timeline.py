"""What one node was, is and will be: an unbroken row of versions, each from a date up to the next one. Pure.

A timeline begins with the node and never ends: a node that is no longer in force has a version that says so, retired or
merged, from that date on. So versions cannot overlap, and every date since the beginning has exactly one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from app.core.errors import Conflict


class Change(StrEnum):
    """How a version came to be: the choices of `hierarchy_node_version.change`."""

    CREATED = "created"
    RENAMED = "renamed"
    MOVED = "moved"
    MERGED = "merged"
    RETIRED = "retired"
    CHANGED = "changed"
    RESTORED = "restored"


ENDED: Final = frozenset({Change.RETIRED, Change.MERGED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """In force, or ended, in `[valid_from, valid_to)`. `id` is that of its row, None until it is written."""

    valid_from: date
    valid_to: date | None = None
    parent_id: UUID | None
    label: str
    attributes: Mapping[str, Any] = field(default_factory=dict)
    change: Change
    reason: str | None = None
    merged_into_id: UUID | None = None
    id: UUID | None = None

    @property
    def in_force(self) -> bool:
        return self.change not in ENDED

    def covers(self, day: date) -> bool:
        return self.valid_from <= day and (self.valid_to is None or day < self.valid_to)


Timeline = tuple[Version, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewValues:
    """What a change sets. `attributes` names those that change; None removes one."""

    label: str | None = None
    moved: bool = False
    parent_id: UUID | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rows:
    """What to write so that a timeline becomes another one."""

    delete: tuple[UUID, ...]
    update: tuple[Version, ...]
    insert: tuple[Version, ...]


def begun(
    *,
    parent_id: UUID | None,
    label: str,
    attributes: Mapping[str, Any],
    valid_from: date,
    valid_to: date | None = None,
    reason: str | None = None,
) -> Timeline:
    """The timeline of a new node, with its end where that is known already."""
    first = Version(
        valid_from=valid_from,
        valid_to=valid_to,
        parent_id=parent_id,
        label=label,
        attributes=dict(attributes),
        change=Change.CREATED,
        reason=reason,
    )
    if valid_to is None:
        return (first,)
    if valid_to <= valid_from:
        raise Conflict(f"A node must end after it begins: {valid_to} is not after {valid_from}.")
    return (first, replace(first, valid_from=valid_to, valid_to=None, change=Change.RETIRED))


def version_at(timeline: Timeline, day: date) -> Version | None:
    """The version of that date, in force or ended; None before the node begins."""
    return next((version for version in timeline if version.covers(day)), None)


def version_today(timeline: Timeline, today: date) -> Version:
    """What the row of the node holds: the version of today; the first one where the node is still to begin."""
    return version_at(timeline, today) or timeline[0]


def end_after(timeline: Timeline, day: date) -> date | None:
    """From which date on the node that is in force on `day` is not any more; None when no end is known."""
    return next((v.valid_from for v in timeline if v.valid_from > day and not v.in_force), None)


def gap_in(timeline: Timeline, at: date, until: date | None) -> date | None:
    """The first date in `[at, until)` on which the node is not in force; None when there is none."""
    if not timeline or timeline[0].valid_from > at:
        return at
    for version in timeline:
        if version.covers(at) and not version.in_force:
            return at
    end = end_after(timeline, at)
    return end if end is not None and (until is None or end < until) else None


def changed(
    timeline: Timeline, *, at: date, values: NewValues, change: Change, reason: str | None, code: str
) -> Timeline:
    """Set values from `at` on. What is planned for later keeps what it sets itself, and takes over the rest.

    Returns the same timeline when nothing differs. Raises Conflict when the node is not in force on that date.
    """
    index = _index_in_force(timeline, at, code)
    before = timeline[index]
    old = _plain(before)
    differing = {name: value for name, value in _wanted(values).items() if old.get(name) != value}
    if not differing:
        return timeline
    if before.valid_from == at:
        kind = before.change if before.change in (Change.CREATED, Change.RESTORED) else change
        head: Timeline = ()
        present = replace(before, change=kind, reason=reason or before.reason)
    else:
        head = (replace(before, valid_to=at),)
        present = replace(before, valid_from=at, change=change, reason=reason, id=None)
    later = []
    carried = dict(differing)
    for version in timeline[index + 1 :]:
        planned = _plain(version)
        carried = {name: value for name, value in carried.items() if planned.get(name) == old.get(name)}
        later.append(_with(version, carried))
    return (*timeline[:index], *head, _with(present, differing), *later)


def ended(
    timeline: Timeline, *, at: date, change: Change, reason: str | None, code: str, merged_into_id: UUID | None = None
) -> Timeline:
    """Not in force from `at` on; what was planned for later falls away. Raises Conflict when it has ended before."""
    index = _index_in_force(timeline, at, code)
    last = timeline[index]
    end = replace(
        last, valid_from=at, valid_to=None, change=change, reason=reason, merged_into_id=merged_into_id, id=None
    )
    if last.valid_from == at:
        return (*timeline[:index], replace(end, id=last.id))
    return (*timeline[:index], replace(last, valid_to=at), end)


def restored(timeline: Timeline, *, at: date, parent_id: UUID | None, reason: str | None, code: str) -> Timeline:
    """In force again from `at` on, below `parent_id`, as it was when it ended. Raises Conflict when it is in force."""
    end = version_at(timeline, at)
    if end is None or end.in_force:
        raise Conflict(f"{code} is not retired on {at}; there is nothing to restore.")
    index = timeline.index(end)
    again = replace(
        end, valid_from=at, change=Change.RESTORED, reason=reason, parent_id=parent_id, merged_into_id=None, id=None
    )
    if end.valid_from == at:
        return (*timeline[:index], replace(again, id=end.id), *timeline[index + 1 :])
    return (*timeline[:index], replace(end, valid_to=at), again, *timeline[index + 1 :])


def difference(old: Timeline, new: Timeline) -> Rows:
    """By row id: what has gone, what has changed, what is new."""
    kept = {version.id for version in new}
    stored = {version.id: version for version in old}
    return Rows(
        delete=tuple(version.id for version in old if version.id is not None and version.id not in kept),
        update=tuple(v for v in new if v.id is not None and stored.get(v.id) != v),
        insert=tuple(v for v in new if v.id is None),
    )


def _index_in_force(timeline: Timeline, at: date, code: str) -> int:
    for index, version in enumerate(timeline):
        if version.covers(at):
            if version.in_force:
                return index
            raise Conflict(f"{code} is not in force on {at}: it was {version.change} from {version.valid_from} on.")
    begins = f"it begins on {timeline[0].valid_from}" if timeline else "it has no dated history"
    raise Conflict(f"{code} is not in force on {at}: {begins}.")


# Label, parent and each attribute are carried on by themselves, so they are compared as one flat mapping.
def _plain(version: Version) -> dict[str, Any]:
    return {
        "label": version.label,
        "parent_id": version.parent_id,
        **{f".{k}": v for k, v in version.attributes.items()},
    }


def _wanted(values: NewValues) -> dict[str, Any]:
    wanted: dict[str, Any] = {f".{key}": value for key, value in values.attributes.items()}
    if values.label is not None:
        wanted["label"] = values.label
    if values.moved:
        wanted["parent_id"] = values.parent_id
    return wanted


def _with(version: Version, values: Mapping[str, Any]) -> Version:
    if not values:
        return version
    attributes = dict(version.attributes)
    for name, value in values.items():
        if name.startswith("."):
            attributes.pop(name[1:], None)
            if value is not None:
                attributes[name[1:]] = value
    return replace(
        version,
        attributes=attributes,
        label=values.get("label", version.label),
        parent_id=values.get("parent_id", version.parent_id),
    )
