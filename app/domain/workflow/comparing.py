"""What differs between two versions of a workflow, by the codes of their parts. Pure.

Parts are compared as plain data, so a field that is added to the definitions is compared without a word here.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from app.domain.workflow.definitions import Dependency, ProcessDefinition, StageDefinition, WorkflowDefinition

DEADLINE_FIELDS = frozenset({"deadline", "earliest_start"})
_HEAD = ("label", "application", "calendar", "node_hierarchy", "node", "description")
_LABELS = {
    "code": "Code", "type": "Type", "approval_levels": "Approval level", "evidence": "Evidence",
    "checklist": "Checklist item", "node_hierarchy": "Hierarchy of the node", "deadline": "Deadline",
    "stage": "Stage", "retry": "Retry",
}  # fmt: skip
# What tells one line of a kind from another; where none of these is there, their place does.
_LINE_KEYS = ("code", "level")


class Part(StrEnum):
    WORKFLOW = "workflow"
    STAGE = "stage"
    PROCESS = "process"
    DEPENDENCY = "dependency"


class Kind(StrEnum):
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class Change:
    """A field that has another value: None before is a new one, None after is one that has gone."""

    field: str
    label: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Difference:
    """One part that differs. `moved`: it stands elsewhere, `place` says where as (before, after)."""

    part: Part
    kind: Kind
    code: str
    label: str
    changes: tuple[Change, ...] = ()
    moved: bool = False
    place: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """Differences in the order of the newer version, what was removed behind what stood before it."""

    differences: tuple[Difference, ...]

    @property
    def is_empty(self) -> bool:
        return not self.differences

    def of(self, part: Part) -> tuple[Difference, ...]:
        return tuple(d for d in self.differences if d.part is part)

    def counts(self) -> dict[tuple[Kind, Part], int]:
        """How many parts of each kind were added, removed, changed or only moved."""
        return dict(Counter((d.kind, d.part) for d in self.differences))

    def deadlines(self) -> tuple[tuple[Difference, Change], ...]:
        """The deadlines and earliest starts of parts that are in both."""
        return tuple(
            (d, c) for d in self.differences if d.kind is Kind.CHANGED for c in d.changes if c.field in DEADLINE_FIELDS
        )


def compare(before: WorkflowDefinition, after: WorkflowDefinition) -> VersionDiff:
    """Everything in which two versions differ; empty exactly when they are equal."""
    return VersionDiff((*_head(before, after), *_stages(before, after), *_processes(before, after),
                        *_dependencies(before, after)))  # fmt: skip


def summary(diff: VersionDiff, *, most: int = 12) -> str:
    """The differences in a few sentences, for the notes of a version and the trail."""
    if diff.is_empty:
        return "Nothing differs."
    lines = []
    for (kind, part), count in diff.counts().items():
        named = [d for d in diff.differences if d.kind is kind and d.part is part]
        names = ", ".join(_in_summary(d) for d in named[:most]) + (f" and {count - most} more" if count > most else "")
        noun = {Part.DEPENDENCY: "dependencies", Part.PROCESS: "processes"}.get(part, f"{part}s")
        lines.append(f"{count} {part if count == 1 else noun} {kind}: {names}.")
    return " ".join(lines)


def in_words(value: Any) -> str:
    """A value of a definition as people read it."""
    match value:
        case None | "" | []:
            return "none"
        case bool():
            return "yes" if value else "no"
        case Mapping():
            said = (f"{label_of(str(k)).lower()} {in_words(v)}" for k, v in value.items() if v not in (None, [], {}))
            return ", ".join(said) or "none"
        case list() | tuple():
            return ", ".join(in_words(item) for item in value)
    return str(value)


def label_of(field: str) -> str:
    """`expected_minutes` is “Expected minutes”."""
    return _LABELS.get(field) or field.replace("_", " ").replace(".", ", ").capitalize()


# -- parts -------------------------------------------------------------------------------------------------------------


def _head(before: WorkflowDefinition, after: WorkflowDefinition) -> Iterator[Difference]:
    changes = tuple(
        Change(name, label_of(name), getattr(before, name), getattr(after, name))
        for name in _HEAD
        if getattr(before, name) != getattr(after, name)
    )
    if changes:
        yield Difference(Part.WORKFLOW, Kind.CHANGED, after.code, after.label, changes)


def _stages(before: WorkflowDefinition, after: WorkflowDefinition) -> Iterator[Difference]:
    def places(definition: WorkflowDefinition) -> dict[str, _Placed]:
        return {
            stage.code: _Placed(_own(stage), stage.label, above[-1].code if above else "", _way(above), number)
            for number, (stage, above) in enumerate(definition.walk())
        }

    yield from _parts(Part.STAGE, places(before), places(after))


def _processes(before: WorkflowDefinition, after: WorkflowDefinition) -> Iterator[Difference]:
    def places(definition: WorkflowDefinition) -> dict[str, _Placed]:
        found: dict[str, _Placed] = {}
        for stage, above in definition.walk():
            for process in stage.processes:
                way = _way((*above, stage))
                found[process.code] = _Placed(_plain(process), process.label, stage.code, way, len(found))
        return found

    yield from _parts(Part.PROCESS, places(before), places(after))


@dataclass(frozen=True, slots=True)
class _Placed:
    values: dict[str, Any]
    label: str
    owner: str
    way: str
    number: int


def _parts(part: Part, old: Mapping[str, _Placed], new: Mapping[str, _Placed]) -> Iterator[Difference]:
    shifted = _out_of_order(old, new)
    gone = sorted((code for code in old if code not in new), key=lambda code: old[code].number)
    for code, now in sorted(new.items(), key=lambda item: item[1].number):
        was = old.get(code)
        if was is None:
            yield Difference(part, Kind.ADDED, code, now.label, place=("", now.way))
            continue
        changes = tuple(changed_fields(was.values, now.values))
        moved = was.owner != now.owner or code in shifted
        if changes or moved:
            kind = Kind.CHANGED if changes else Kind.MOVED
            yield Difference(part, kind, code, now.label, changes, moved=moved, place=(was.way, now.way))
    for code in gone:
        yield Difference(part, Kind.REMOVED, code, old[code].label, place=(old[code].way, ""))


def _out_of_order(old: Mapping[str, _Placed], new: Mapping[str, _Placed]) -> set[str]:
    """What has been moved among its neighbours: the fewest that explain the new order."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for code, now in sorted(new.items(), key=lambda item: item[1].number):
        if code in old and old[code].owner == now.owner:
            groups[now.owner].append(code)
    moved: set[str] = set()
    for codes in groups.values():
        kept = _longest_rising([old[code].number for code in codes])
        moved |= {code for index, code in enumerate(codes) if index not in kept}
    return moved


def _longest_rising(numbers: Sequence[int]) -> set[int]:
    """The indexes of a longest increasing subsequence."""
    ends: list[int] = []
    at: list[int] = []
    before: list[int] = []
    for index, number in enumerate(numbers):
        place = bisect_left(ends, number)
        before.append(at[place - 1] if place else -1)
        if place == len(ends):
            ends.append(number)
            at.append(index)
        else:
            ends[place], at[place] = number, index
    kept: set[int] = set()
    index = at[-1] if at else -1
    while index >= 0:
        kept.add(index)
        index = before[index]
    return kept


def _dependencies(before: WorkflowDefinition, after: WorkflowDefinition) -> Iterator[Difference]:
    labels = {process.code: process.label for d in (before, after) for process, _ in d.processes()}
    old, new = _by_ends(before.dependencies), _by_ends(after.dependencies)
    for ends in dict.fromkeys((*new, *old)):
        was, now = list(old.get(ends, ())), list(new.get(ends, ()))
        for same in [edge for edge in was if edge in now]:
            was.remove(same)
            now.remove(same)
        # Two edges between the same ends are told apart by their type where they have the same one.
        was.sort(key=lambda edge: str(edge.get("type")))
        now.sort(key=lambda edge: str(edge.get("type")))
        code, label = _edge_names(ends, labels)
        for left, right in _pairs(was, now):
            if left is None:
                changes = tuple(changed_fields({}, right or {}))
                yield Difference(Part.DEPENDENCY, Kind.ADDED, code, label, changes)
            elif right is None:
                yield Difference(Part.DEPENDENCY, Kind.REMOVED, code, label)
            else:
                yield Difference(Part.DEPENDENCY, Kind.CHANGED, code, label, tuple(changed_fields(left, right)))


_Ends = tuple[str, str, str]
_Edge = dict[str, Any]


def _by_ends(edges: Iterable[Dependency]) -> dict[_Ends, list[_Edge]]:
    found: defaultdict[_Ends, list[_Edge]] = defaultdict(list)
    for edge in edges:
        plain = _plain(edge)
        ends = (str(plain.pop("workflow", None) or ""), str(plain.pop("from")), str(plain.pop("to")))
        found[ends].append(plain)
    return dict(found)


def _pairs(was: list[_Edge], now: list[_Edge]) -> Iterator[tuple[_Edge | None, _Edge | None]]:
    for left in list(was):
        match = next((right for right in now if right.get("type") == left.get("type")), None)
        if match is not None:
            was.remove(left)
            now.remove(match)
            yield left, match
    for index in range(max(len(was), len(now))):
        yield (was[index] if index < len(was) else None), (now[index] if index < len(now) else None)


def _edge_names(ends: _Ends, labels: Mapping[str, str]) -> tuple[str, str]:
    workflow, before, after = ends
    first = f"{workflow}: {before}" if workflow else labels.get(before, before)
    return f"{workflow}:{before}>{after}".removeprefix(":"), f"{first} → {labels.get(after, after)}"


# -- fields ------------------------------------------------------------------------------------------------------------


def changed_fields(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    """Field by field; lists of lines by their code or level, so that one changed line is one change."""
    for name in dict.fromkeys((*old, *new)):
        was, now = old.get(name), new.get(name)
        if was == now:
            continue
        if _is_lines(was) and _is_lines(now) and (was or now):
            yield from _changed_lines(name, was or [], now or [])
        elif isinstance(was, dict) and isinstance(now, dict) and name != "condition":
            yield from (
                Change(f"{name}.{c.field}", f"{label_of(name)}, {c.label.lower()}", c.before, c.after)
                for c in changed_fields(was, now)
            )
        else:
            yield Change(name, label_of(name), was, now)


def _is_lines(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(line, dict) for line in value))


def _changed_lines(name: str, old: list[dict[str, Any]], new: list[dict[str, Any]]) -> Iterator[Change]:
    def keyed(lines: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for number, line in enumerate(lines, start=1):
            key = next((str(line[k]) for k in _LINE_KEYS if k in line), str(number))
            found[key if key not in found else f"{key} ({number})"] = line
        return found

    was, now = keyed(old), keyed(new)
    found = False
    for key in sorted({**was, **now}):
        if was.get(key) != now.get(key):
            found = True
            yield Change(f"{name}.{key}", f"{label_of(name)} {key}", _line(was.get(key)), _line(now.get(key)))
    if not found:
        yield Change(name, f"Order of {label_of(name).lower()}s", list(was), list(now))


def _line(line: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if line is None else {k: v for k, v in line.items() if k not in _LINE_KEYS}


def _own(stage: StageDefinition) -> dict[str, Any]:
    plain = _plain(stage)
    for inside in ("processes", "stages"):
        plain.pop(inside, None)
    return plain


def _plain(part: StageDefinition | ProcessDefinition | Dependency) -> dict[str, Any]:
    model: BaseModel = part
    return model.model_dump(mode="json", by_alias=True)


def _way(stages: Sequence[StageDefinition]) -> str:
    return " / ".join(stage.label for stage in stages)


def _in_summary(difference: Difference) -> str:
    if difference.kind is not Kind.CHANGED:
        return difference.label
    return f"{difference.label} ({', '.join(change.label.lower() for change in difference.changes)})"
