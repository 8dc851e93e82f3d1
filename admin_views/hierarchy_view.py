"""What steps/hierarchy.html shows: the tree as of a date, what differs from another date, a node's life in time."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

from admin_views.formats import Formats
from app.core.errors import StepsError
from app.domain.hierarchy.import_diff import ImportPlan, NodeChange
from app.domain.hierarchy.queries import Comparison, Difference, TreeNode, Usage
from app.domain.hierarchy.timeline import Timeline, Version, version_at
from models.registry import Registry

# Beyond this many nodes only the top, the way to the chosen node and what is right below it are shown.
MOST_AT_ONCE = 500
FOLDED_LEVELS = 2
MOST_FOUND = 300
KIND_ICONS = {
    "division": "stack-2", "business": "building-bank", "desk": "folders", "book": "book-2", "group": "building-bank",
    "entity": "building", "branch": "building-community", "region": "world", "country": "map-pin",
    "company": "building", "sub_desk": "folder", "world": "world",
}  # fmt: skip
CHANGES = {
    "created": ("plus", "Created"), "renamed": ("pencil", "Renamed"), "moved": ("corner-down-right", "Moved"),
    "merged": ("git-merge", "Merged"), "retired": ("archive", "Retired"), "changed": ("adjustments", "Changed"),
    "restored": ("rotate", "Restored"),
}  # fmt: skip
SCALE = 640.0


@dataclass(frozen=True, slots=True)
class View:
    """What the address asks for."""

    code: str
    as_of: date | None
    compare: date | None
    node: str | None
    search: str

    def href(self, **changes: Any) -> str:
        """The same page with something changed; None takes it away."""
        given = {"as_of": self.as_of, "compare": self.compare, "node": self.node, "q": self.search or None, **changes}
        query = urlencode({name: str(value) for name, value in given.items() if value is not None})
        path = f"/hierarchies/{quote(self.code)}"
        return f"{path}?{query}" if query else path


@dataclass(frozen=True, slots=True)
class Refused:
    """A change that was not accepted, with what was typed."""

    place: str
    error: StepsError
    values: Mapping[str, str] = field(default_factory=dict)


def tree_rows(view: View, nodes: Sequence[TreeNode], comparison: Comparison | None, formats: Formats) -> dict[str, Any]:
    """The rows to show, each with its level, and how many there are in all."""
    books = _leaves(nodes)
    marks = _marks(comparison)
    shown = _found(nodes, view.search) if view.search else _unfolded(nodes, view.node)
    rows = [
        {
            "code": node.code,
            "label": node.label,
            "href": view.href(node=node.code),
            "level": min(node.level, 8),
            "icon": KIND_ICONS.get(str(node.attributes.get("kind", "")), "point"),
            "selected": node.code == view.node,
            "count": books[node.id] or None,
            "mark": marks.get(node.id),
            "ends": f"until {formats.date(node.valid_to)}" if node.valid_to else "",
            "gone": False,
        }
        for node in shown
    ]
    rows += [
        {**_gone(view, difference), "mark": marks[difference.node_id]}
        for difference in (comparison.removed if comparison else ())
    ]
    return {
        "rows": rows,
        "count": len(nodes),
        "levels": max((node.level for node in nodes), default=0),
        "folded": len(shown) < len(nodes),
    }


def _gone(view: View, difference: Difference) -> dict[str, Any]:
    label = difference.before.label if difference.before else difference.code
    base = {"code": difference.code, "label": label, "level": 1, "icon": "archive", "count": None, "ends": ""}
    return {**base, "href": view.href(node=difference.code), "selected": difference.code == view.node, "gone": True}


def _leaves(nodes: Sequence[TreeNode]) -> Counter[UUID]:
    """How many nodes without children are below each node."""
    parents = {node.parent_id for node in nodes}
    above = {node.id: node.parent_id for node in nodes}
    counts: Counter[UUID] = Counter()
    for node in nodes:
        if node.id in parents:
            continue
        parent = node.parent_id
        while parent is not None:
            counts[parent] += 1
            parent = above.get(parent)
    return counts


def _unfolded(nodes: Sequence[TreeNode], chosen: str | None) -> Sequence[TreeNode]:
    if len(nodes) <= MOST_AT_ONCE:
        return nodes
    open_ids: set[UUID | None] = {None}
    by_id = {node.id: node for node in nodes}
    here = next((node for node in nodes if node.code == chosen), None)
    while here is not None:
        open_ids.add(here.id)
        here = by_id.get(here.parent_id) if here.parent_id else None
    return [n for n in nodes if n.level <= FOLDED_LEVELS or n.parent_id in open_ids][: MOST_AT_ONCE * 4]


def _found(nodes: Sequence[TreeNode], search: str) -> Sequence[TreeNode]:
    """The nodes of this name, code or attribute, with those above them so that they have a place."""
    wanted = search.casefold()
    by_id = {node.id: node for node in nodes}
    keep: set[UUID] = set()
    found = 0
    for node in nodes:
        texts = (node.code, node.label, *(str(value) for value in node.attributes.values()))
        if not any(wanted in text.casefold() for text in texts):
            continue
        found += 1
        here: TreeNode | None = node
        while here is not None and here.id not in keep:
            keep.add(here.id)
            here = by_id.get(here.parent_id) if here.parent_id else None
        if found == MOST_FOUND:
            break
    return [node for node in nodes if node.id in keep]


def _marks(comparison: Comparison | None) -> dict[UUID, dict[str, str]]:
    if comparison is None:
        return {}
    marks: dict[UUID, dict[str, str]] = {}
    for found in comparison.changed:
        marks[found.node_id] = {"kind": "", "icon": "adjustments", "text": "Attributes changed"}
    for found in comparison.renamed:
        was = found.before.label if found.before else ""
        marks[found.node_id] = {"kind": "ren", "icon": "pencil", "text": f"Was {was}"}
    for found in comparison.moved:
        was = (found.before.parent if found.before else None) or "the top"
        marks[found.node_id] = {"kind": "mov", "icon": "corner-down-right", "text": f"Moved from {was}"}
    for found in comparison.added:
        marks[found.node_id] = {"kind": "add", "icon": "plus", "text": "Added"}
    for found in comparison.removed:
        marks[found.node_id] = {"kind": "ret", "icon": "archive", "text": "Not in force any more"}
    return marks


def tally(comparison: Comparison) -> list[dict[str, Any]]:
    """The comparison in numbers."""
    parts = (
        ("add", "plus", "added", comparison.added),
        ("mov", "corner-down-right", "moved", comparison.moved),
        ("ren", "pencil", "renamed", comparison.renamed),
        ("", "adjustments", "changed", comparison.changed),
        ("ret", "archive", "retired", comparison.removed),
    )
    return [{"kind": k, "icon": i, "text": f"{len(found)} {word}"} for k, i, word, found in parts if found]


def node_panel(
    view: View,
    node: TreeNode,
    timeline: Timeline,
    used: Sequence[Usage],
    *,
    names: Mapping[UUID, str],
    day: date,
    formats: Formats,
    registry: Registry,
) -> dict[str, Any]:
    """One node: what it is on the day, its life in time, and what names it."""
    now = version_at(timeline, day)
    in_force = now is not None and now.in_force
    return {
        "code": node.code,
        "label": now.label if now else node.label,
        "icon": KIND_ICONS.get(str(node.attributes.get("kind", "")), "point"),
        "in_force": in_force,
        "state": "In force" if in_force else ("Not yet in force" if now is None else "Not in force"),
        "parent": names.get(now.parent_id, "") if now and now.parent_id else "",
        "parent_label": names.get(now.parent_id) if now and now.parent_id else "top of the tree",
        "attributes": [
            {"label": name.replace("_", " ").capitalize(), "name": name, "value": str(value)}
            for name, value in (now.attributes if now else node.attributes).items()
        ],
        "since": formats.date(timeline[0].valid_from) if timeline else "",
        "until": f"until {formats.date(node.valid_to)}" if node.valid_to else "no end",
        "versions": [_version(version, names, formats, day) for version in reversed(timeline)],
        "lanes": lanes(timeline, names, day, formats),
        "used": [_used(usage, node, registry) for usage in used],
    }


def _version(version: Version, names: Mapping[UUID, str], formats: Formats, day: date) -> dict[str, Any]:
    icon, word = CHANGES[version.change.value]
    until = f" until {formats.date(version.valid_to)}" if version.valid_to else ""
    return {
        "icon": icon,
        "change": word,
        "period": f"{formats.date(version.valid_from)}{until}",
        "text": ", ".join(
            part
            for part in (version.label, f"below {names.get(version.parent_id, '…')}" if version.parent_id else "")
            if part
        ),
        "reason": version.reason,
        "now": version.covers(day),
        "planned": version.valid_from > day,
    }


def lanes(timeline: Timeline, names: Mapping[UUID, str], day: date, formats: Formats) -> dict[str, Any] | None:
    """Name and parent over the years, as lengths on a drawing of fixed width."""
    if not timeline:
        return None
    first = min(timeline[0].valid_from, day)
    last = max(*(v.valid_from for v in timeline), day)
    end = date(last.year + 1, 1, 1) if last.year < date.max.year else date.max
    start = date(first.year, 1, 1)
    days = max((end - start).days, 1)

    def x(at: date) -> float:
        return round(SCALE * (min(max(at, start), end) - start).days / days, 1)

    def lane(title: str, texts: Sequence[str]) -> dict[str, Any]:
        merged: list[list[Any]] = []
        for version, text in zip(timeline, texts, strict=True):
            until = version.valid_to or end
            if merged and merged[-1][2] == text and merged[-1][1] == version.valid_from:
                merged[-1][1] = until
            else:
                merged.append([version.valid_from, until, text])
        return {
            "title": title,
            "parts": [
                {
                    "x": x(begins),
                    "width": max(round(x(ends) - x(begins), 1), 2.0),
                    "text": text,
                    "kind": "plan" if begins > day else ("past" if ends <= day else ""),
                }
                for begins, ends, text in merged
            ],
        }

    labels = [version.label if version.in_force else "not in force" for version in timeline]
    parents = [names.get(version.parent_id, "") if version.parent_id else "top" for version in timeline]
    years = range(start.year, end.year)
    step = max(1, len(years) // 8)
    return {
        "lanes": [lane("Name", labels), lane("Parent", parents)],
        "years": [{"x": x(date(year, 1, 1)), "text": str(year)} for year in years if (year - start.year) % step == 0],
        "now": x(day),
        "now_text": formats.date(day),
        "late": x(day) > SCALE * 0.8,
        "width": SCALE,
    }


def _used(usage: Usage, node: TreeNode, registry: Registry) -> dict[str, Any]:
    entity = registry.entity(usage.entity)
    where = quote(f'{{"{usage.field}": {{"eq": "{node.id}"}}}}')
    listed = entity.field(usage.field).is_reference
    return {
        "label": usage.label,
        "icon": entity.icon or "link",
        "count": f"{usage.count:,}",
        "href": f"/data/{entity.slug}?filter={where}" if listed else None,
    }


def plan_rows(plan: ImportPlan, formats: Formats) -> list[dict[str, Any]]:
    """What an import would do, node by node."""
    rows = [
        {
            "kind": "add", "icon": "plus", "what": "Added", "code": new.code, "row": new.row_number,
            "text": f"{new.timeline[0].label}, {_below(plan, new.timeline[0].parent_id)}",
            "at": formats.date(new.timeline[0].valid_from),
        }
        for new in plan.additions
    ]  # fmt: skip
    for change in plan.changes:
        for kind, icon, what, text in _change_lines(change, formats):
            rows.append(
                {
                    "kind": kind, "icon": icon, "what": what, "code": change.code, "row": change.row_number,
                    "text": text, "at": formats.date(change.at),
                }
            )  # fmt: skip
    return rows


def _below(plan: ImportPlan, parent_id: UUID | None) -> str:
    return f"below {plan.codes.get(parent_id, '…')}" if parent_id else "at the top"


def _change_lines(change: NodeChange, formats: Formats) -> Iterable[tuple[str, str, str, str]]:
    if change.renamed:
        yield "ren", "pencil", "Renamed", f"{change.renamed[0]} → {change.renamed[1]}"
    if change.moved:
        yield "mov", "corner-down-right", "Moved", f"{change.moved[0] or 'top'} → {change.moved[1] or 'top'}"
    if change.attributes:
        texts = (f"{name}: {old or 'empty'} → {new or 'empty'}" for name, (old, new) in change.attributes.items())
        yield "", "adjustments", "Changed", "; ".join(texts)
    if change.ends:
        yield "ret", "archive", "Retired", f"on {formats.date(change.ends)}"
    if change.restored:
        yield "add", "rotate", "Restored", f"on {formats.date(change.restored)}"
