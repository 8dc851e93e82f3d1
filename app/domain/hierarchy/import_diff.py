"""Compare the rows of a file with a tree: a plan of what would change, and every problem with its row. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Protocol
from uuid import UUID

from app.core.errors import Conflict
from app.domain.hierarchy.names import code_problems, label_problems
from app.domain.hierarchy.timeline import (
    Change,
    NewValues,
    Timeline,
    Version,
    begun,
    changed,
    ended,
    gap_in,
    restored,
    version_at,
)
from models.base import uuid7


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvRow:
    """One line of the file, as text. Without `has_ends` the file says nothing about ends."""

    number: int
    code: str
    parent_code: str
    label: str
    valid_from: str = ""
    valid_to: str = ""
    has_ends: bool = True
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImportProblem:
    """`row_number` is the line in the file; None for a node that the file does not list."""

    row_number: int | None
    message: str


@dataclass(frozen=True, slots=True)
class Addition:
    row_number: int
    id: UUID
    code: str
    timeline: Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeChange:
    """What happens to one node; each pair is (old, new)."""

    row_number: int | None
    node_id: UUID
    code: str
    at: date
    before: Timeline
    after: Timeline
    renamed: tuple[str, str] | None = None
    moved: tuple[str | None, str | None] | None = None
    attributes: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    ends: date | None = None
    restored: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPlan:
    """What an import would do. `basis` is the state of the tree that it was compared with."""

    hierarchy_id: UUID
    hierarchy_code: str
    as_of: date
    basis: str
    retire_missing: bool
    additions: tuple[Addition, ...]  # parents before children
    changes: tuple[NodeChange, ...]
    problems: tuple[ImportProblem, ...]
    codes: Mapping[UUID, str]
    risky: bool  # other changes are planned for later dates

    @property
    def is_empty(self) -> bool:
        return not self.additions and not self.changes

    @property
    def ends(self) -> dict[UUID, date]:
        return {change.node_id: change.ends for change in self.changes if change.ends is not None}

    def with_problems(self, more: Iterable[ImportProblem]) -> "ImportPlan":
        problems = sorted((*self.problems, *more), key=lambda problem: problem.row_number or 0)
        return replace(self, problems=tuple(problems))


class TreeNode(Protocol):
    @property
    def id(self) -> UUID: ...
    @property
    def code(self) -> str: ...
    @property
    def timeline(self) -> Timeline: ...


def compare_with_file(
    rows: Sequence[CsvRow],
    nodes: Iterable[TreeNode],
    *,
    hierarchy_id: UUID,
    hierarchy_code: str,
    basis: str,
    as_of: date,
    retire_missing: bool,
) -> ImportPlan:
    """The plan; with problems it shows what was understood, and cannot be applied."""
    comparison = _Comparison(rows, {node.code: node for node in nodes}, as_of)
    comparison.compare(retire_missing=retire_missing)
    return ImportPlan(
        hierarchy_id=hierarchy_id,
        hierarchy_code=hierarchy_code,
        as_of=as_of,
        basis=basis,
        retire_missing=retire_missing,
        additions=tuple(_parents_first(comparison.additions)),
        changes=tuple(comparison.changes.values()),
        problems=tuple(sorted(comparison.problems, key=lambda problem: problem.row_number or 0)),
        codes=comparison.codes,
        risky=any(v.valid_from > as_of for node in comparison.nodes.values() for v in node.timeline[1:]),
    )


class _Comparison:
    def __init__(self, rows: Sequence[CsvRow], nodes: Mapping[str, TreeNode], as_of: date) -> None:
        self.as_of = as_of
        self.nodes = nodes
        self.problems: list[ImportProblem] = []
        self.additions: dict[UUID, Addition] = {}
        self.changes: dict[UUID, NodeChange] = {}
        self.rows = self._first_rows(rows)
        self.ids = {code: nodes[code].id if code in nodes else uuid7() for code in (*self.rows, *nodes)}
        self.codes = {id_: code for code, id_ in self.ids.items()}
        self.timelines = {node.id: node.timeline for node in nodes.values()}

    def problem(self, row: int | None, message: str) -> None:
        self.problems.append(ImportProblem(row, message))

    def _first_rows(self, rows: Sequence[CsvRow]) -> dict[str, CsvRow]:
        found: dict[str, CsvRow] = {}
        for row in rows:
            wrong = code_problems(row.code) + label_problems(row.label)
            for problem in wrong:
                self.problem(row.number, f"{problem.path} {getattr(row, problem.path)!r}: {problem.message}")
            if row.code in found:
                self.problem(row.number, f"code {row.code} stands in line {found[row.code].number} already")
            elif row.code:
                found[row.code] = row
        return found

    def compare(self, *, retire_missing: bool) -> None:
        for row in self.rows.values():
            parent_id = self._parent(row)
            dates = self._dates(row)
            if dates is None:
                continue
            begins, ends = dates
            try:
                if row.code in self.nodes:
                    self._existing(row, parent_id, begins, ends)
                else:
                    self._new(row, parent_id, begins or self.as_of, ends)
            except Conflict as conflict:
                self.problem(row.number, conflict.detail)
        if retire_missing:
            self._retire_missing()
        self._check_parents()
        self._check_rings()

    def _parent(self, row: CsvRow) -> UUID | None:
        if not row.parent_code:
            return None
        if row.parent_code == row.code:
            self.problem(row.number, f"{row.code} cannot be its own parent")
        elif row.parent_code not in self.ids:
            message = f"there is no node {row.parent_code}, neither in the file nor in the tree; add it or name another"
            self.problem(row.number, message)
        return self.ids.get(row.parent_code)

    def _dates(self, row: CsvRow) -> tuple[date | None, date | None] | None:
        found: list[date | None] = []
        for name in ("valid_from", "valid_to"):
            given: str = getattr(row, name)
            try:
                found.append(date.fromisoformat(given) if given else None)
            except ValueError:
                self.problem(row.number, f"{name} {given!r} is not a date; write it as 2026-01-31")
                return None
        return found[0], found[1]

    def _new(self, row: CsvRow, parent_id: UUID | None, begins: date, ends: date | None) -> None:
        attributes = {name: value for name, value in row.attributes.items() if value}
        timeline = begun(parent_id=parent_id, label=row.label, attributes=attributes, valid_from=begins, valid_to=ends)
        id_ = self.ids[row.code]
        self.additions[id_] = Addition(row.number, id_, row.code, timeline)
        self.timelines[id_] = timeline

    def _existing(self, row: CsvRow, parent_id: UUID | None, begins: date | None, ends: date | None) -> None:
        node = self.nodes[row.code]
        before = after = node.timeline
        if not before:
            raise Conflict(f"{row.code} has no dated history; it cannot be changed by an import")
        if begins is not None and begins != before[0].valid_from:
            raise Conflict(f"{row.code} begins on {before[0].valid_from}; leave valid_from empty or write that date")
        at = max(self.as_of, before[0].valid_from)
        ended_on = None if before[-1].in_force else before[-1].valid_from
        back = None
        if row.has_ends and ends is None and ended_on is not None:
            back = max(at, ended_on)
            after = restored(after, at=back, parent_id=parent_id, reason=None, code=row.code)
            at = back
        present = version_at(after, at)
        if present is None or not present.in_force:
            self._unchanged_though_ended(row, parent_id, present)
        else:
            after = self._with_values(row, parent_id, after, at)
        end = ends if row.has_ends and ends is not None and ends != ended_on else None
        if end is not None:
            if ended_on is not None and ended_on < end:
                raise Conflict(f"{row.code} has ended on {ended_on} already; write that date, or none to restore it")
            after = ended(after, at=end, change=Change.RETIRED, reason=None, code=row.code)
        if after != before:
            self._record(row.number, node, after, at, end=end, back=back)

    def _with_values(self, row: CsvRow, parent_id: UUID | None, timeline: Timeline, at: date) -> Timeline:
        present = version_at(timeline, at)
        old = present.attributes if present is not None else {}
        attributes = {name: value or None for name, value in row.attributes.items() if _as_text(old.get(name)) != value}
        values = NewValues(label=row.label, moved=True, parent_id=parent_id, attributes=attributes)
        moved = present is not None and present.parent_id != parent_id
        renamed = present is not None and present.label != row.label
        change = Change.MOVED if moved else Change.RENAMED if renamed else Change.CHANGED
        return changed(timeline, at=at, values=values, change=change, reason=None, code=row.code)

    def _unchanged_though_ended(self, row: CsvRow, parent_id: UUID | None, last: Version | None) -> None:
        same = last is not None and (
            last.label == row.label
            and last.parent_id == parent_id
            and all(_as_text(last.attributes.get(name)) == value for name, value in row.attributes.items())
        )
        if not same:
            since = f" since {last.valid_from}" if last is not None else ""
            raise Conflict(f"{row.code} is not in force{since}; its label, parent and attributes cannot change")

    def _record(
        self, number: int | None, node: TreeNode, after: Timeline, at: date, *, end: date | None, back: date | None
    ) -> None:
        old, new = version_at(node.timeline, at), version_at(after, at)
        assert old is not None
        assert new is not None
        keys = sorted({*old.attributes, *new.attributes})
        pairs = {key: (old.attributes.get(key), new.attributes.get(key)) for key in keys}
        self.changes[node.id] = NodeChange(
            row_number=number,
            node_id=node.id,
            code=node.code,
            at=end if end is not None and old == new else at,
            before=node.timeline,
            after=after,
            renamed=(old.label, new.label) if old.label != new.label else None,
            moved=(self._code(old.parent_id), self._code(new.parent_id)) if old.parent_id != new.parent_id else None,
            attributes={key: pair for key, pair in pairs.items() if pair[0] != pair[1]},
            ends=end,
            restored=back,
        )
        self.timelines[node.id] = after

    def _code(self, id_: UUID | None) -> str | None:
        return self.codes.get(id_) if id_ is not None else None

    def _retire_missing(self) -> None:
        for code, node in self.nodes.items():
            present = version_at(node.timeline, self.as_of)
            if code not in self.rows and present is not None and present.in_force:
                after = ended(node.timeline, at=self.as_of, change=Change.RETIRED, reason=None, code=code)
                self._record(None, node, after, self.as_of, end=self.as_of, back=None)

    def _check_parents(self) -> None:
        """Each node needs a parent in force as long as it is; only what the file touches can have gone wrong."""
        touched = {*self.additions, *self.changes}
        for id_, timeline in self.timelines.items():
            for version in timeline:
                parent_id = version.parent_id
                if parent_id is None or not version.in_force or not touched.intersection((id_, parent_id)):
                    continue
                parent = self.timelines.get(parent_id)
                gap = gap_in(parent, version.valid_from, version.valid_to) if parent else None
                if gap is not None:
                    row = self.rows.get(self.codes[id_]) or self.rows.get(self.codes[parent_id])
                    message = (
                        f"{self.codes[id_]} would be below {self.codes[parent_id]}, which is not in force on {gap}"
                    )
                    self.problem(row.number if row else None, message)

    def _check_rings(self) -> None:
        above: dict[UUID, UUID | None] = {}
        for id_, timeline in self.timelines.items():
            version = version_at(timeline, max(self.as_of, timeline[0].valid_from)) if timeline else None
            above[id_] = version.parent_id if version is not None and version.in_force else None
        for ring in _rings(above):
            codes = [self.codes[id_] for id_ in ring]
            row = min((self.rows[code].number for code in codes if code in self.rows), default=None)
            if len(codes) > 1:  # a node that is its own parent was named by its row
                self.problem(row, "each of these would be below the next one: " + ", ".join([*codes, codes[0]]))


def _rings(above: Mapping[UUID, UUID | None]) -> list[list[UUID]]:
    """Every ring of a map child -> parent, each once."""
    found = []
    settled: set[UUID] = set()
    for start in above:
        way: dict[UUID, int] = {}
        here: UUID | None = start
        while here is not None and here not in settled and here not in way:
            way[here] = len(way)
            here = above.get(here)
        if here is not None and here in way:
            found.append(list(way)[way[here] :])
        settled.update(way)
    return found


def _parents_first(additions: Mapping[UUID, Addition]) -> list[Addition]:
    ordered: dict[UUID, Addition] = {}
    for start in additions:
        way: list[UUID] = []
        here: UUID | None = start
        while here is not None and here in additions and here not in ordered and here not in way:
            way.append(here)
            here = additions[here].timeline[0].parent_id
        ordered.update((id_, additions[id_]) for id_ in reversed(way))
    return list(ordered.values())


def _as_text(value: Any) -> str:
    return "" if value is None else str(value)
