"""What steps/designer.html shows: the tree of a version with marks, findings beside their places, and the impact."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from admin_views.formats import Formats
from admin_views.work_words import KIND_ICONS
from app.core.errors import FieldProblem
from app.core.findings import Finding, Severity
from app.domain.workflow.comparing import Difference, Kind, Part, VersionDiff, in_words
from app.domain.workflow.impact import Impact, VersionSummary
from app.domain.workflow.structure import ProcessLine, StageLine, Structure, VersionHead
from models.registry import Registry

STATES = {"draft": ("draft", "Draft"), "published": ("done", "Published"), "retired": ("void", "Retired")}
KIND_MARKS = {
    Kind.ADDED: ("add", "plus", "Added"), Kind.REMOVED: ("ret", "minus", "Removed"),
    Kind.CHANGED: ("ren", "pencil", "Changed"), Kind.MOVED: ("mov", "corner-down-right", "Moved"),
}  # fmt: skip
PART_WORDS = {
    Part.STAGE: ("stage", "stages"), Part.PROCESS: ("process", "processes"),
    Part.DEPENDENCY: ("dependency", "dependencies"), Part.WORKFLOW: ("workflow", "workflows"),
}  # fmt: skip
# Fields of a definition that the editor offers as choices: (entity, field) with the words for them.
CHOICES = {
    "kind": ("process", "kind"), "type": ("process_dependency", "edge_type"),
    "hardness": ("process_dependency", "hardness"), "run_selector": ("process_dependency", "run_selector"),
    "run_node": ("process_dependency", "run_node"),
}  # fmt: skip
MOST_LEVEL = 8
MOST_NAMED = 4


@dataclass(frozen=True, slots=True)
class Address:
    """The page of a version; `item` is the part in the editor, such as `process.load_rates`."""

    code: str
    number: int
    tab: str = "structure"
    item: str = ""

    @property
    def path(self) -> str:
        return f"/workflows/{quote(self.code)}/versions/{self.number}"

    def href(self, **changes: Any) -> str:
        """The same page with something changed."""
        given = {"tab": self.tab if self.tab != "structure" else "", "item": self.item, **changes}
        query = urlencode({name: value for name, value in given.items() if value and value != "structure"})
        return f"{self.path}?{query}" if query else self.path


def tree_rows(
    address: Address, parts: Structure, findings: Iterable[Finding], diff: VersionDiff | None
) -> list[dict[str, Any]]:
    """The rows of the tree, each with its level, its link and the marks behind its name."""
    marks = _marks(findings, diff)
    rows = []
    for stage in parts.stages:
        level = stage.depth + 1
        rows.append(_row(address, stage, level, ("folder", "Stage"), marks.get((Part.STAGE, stage.code), [])))
        for work in stage.processes:
            icon = KIND_ICONS.get(work.kind, ("subtask", work.kind.value.replace("_", " ").capitalize()))
            found = marks.get((Part.PROCESS, work.code), [])
            rows.append(_row(address, work, level + 1, icon, found))
    return rows


def _row(
    address: Address, part: StageLine | ProcessLine, level: int, icon: tuple[str, str], marks: list[dict[str, str]]
) -> dict[str, Any]:
    entity = "stage" if isinstance(part, StageLine) else "process"
    item = f"{entity}.{part.code}"
    return {
        "entity": entity,
        "level": min(level, MOST_LEVEL),
        "number": part.number,
        "label": part.label,
        "icon": icon[0],
        "kind": icon[1],
        "href": address.href(item=item, tab=""),
        "selected": address.item == item,
        "marks": marks,
    }


def _marks(findings: Iterable[Finding], diff: VersionDiff | None) -> dict[tuple[Part, str], list[dict[str, str]]]:
    marks: defaultdict[tuple[Part, str], list[dict[str, str]]] = defaultdict(list)
    for difference in diff.differences if diff else ():
        kind, icon, word = KIND_MARKS[difference.kind]
        marks[difference.part, difference.code].append({"kind": kind, "icon": icon, "label": word})
    counted: defaultdict[str, list[Severity]] = defaultdict(list)
    for finding in findings:
        counted[finding.place].append(finding.severity)
    for code, severities in counted.items():
        errors = severities.count(Severity.ERROR)
        warnings = len(severities) - errors
        for part in (Part.STAGE, Part.PROCESS):
            if errors:
                marks[part, code].append({"kind": "error", "icon": "alert-circle", "label": _count(errors, "error")})
            elif warnings:
                label = _count(warnings, "warning")
                marks[part, code].append({"kind": "warn", "icon": "alert-triangle", "label": label})
    return marks


def finding_rows(address: Address, parts: Structure, findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """The findings, each with the place it is about."""
    rows = []
    for finding in findings:
        work, stage = parts.process(finding.place), parts.stage(finding.place)
        place = work or stage
        item = f"{'process' if work else 'stage'}.{finding.place}"
        rows.append(
            {
                "severity": finding.severity.value,
                "message": finding.message,
                "satisfy": finding.satisfy,
                "place": f"{place.number} {place.label}" if place else "",
                "href": address.href(item=item, tab="") if place else None,
                "here": place is not None and address.item == item,
            }
        )
    return rows


def findings_of_problems(problems: Iterable[FieldProblem]) -> list[Finding]:
    """What keeps a version from being read at all, as findings."""
    return [
        Finding(Severity.ERROR, problem.code, "", f"{problem.path}: {problem.message}", "Correct it.")
        for problem in problems
    ]


def diff_tally(diff: VersionDiff) -> list[dict[str, Any]]:
    """The differences counted: "2 processes: Desk head approval, …"."""
    rows = []
    for (kind, part), count in diff.counts().items():
        css, icon, word = KIND_MARKS[kind]
        named = [d.label for d in diff.differences if d.kind is kind and d.part is part]
        more = f" and {count - MOST_NAMED} more" if count > MOST_NAMED else ""
        text = f"{PART_WORDS[part][count != 1]}: {', '.join(named[:MOST_NAMED])}{more}"
        rows.append({"kind": css, "icon": icon, "word": word, "count": count, "text": text})
    return rows


def diff_rows(diff: VersionDiff, registry: Registry) -> list[dict[str, Any]]:
    """Every difference with its fields, grouped by part, for the comparison page."""
    groups = []
    for part in Part:
        found = [_difference(d, registry) for d in diff.of(part)]
        if found:
            groups.append({"label": PART_WORDS[part][1].capitalize(), "rows": found})
    return groups


def _value_words(field: str, value: Any, registry: Registry) -> str:
    """A choice by its label, as in the editor; everything else as `in_words` says it."""
    entity, name = CHOICES.get(field, ("", ""))
    if entity and isinstance(value, str):
        options = registry.entity(entity).field(name).options
        return next((option.label or str(option.value) for option in options if option.value == value), value)
    return in_words(value)


def _difference(difference: Difference, registry: Registry) -> dict[str, Any]:
    css, icon, word = KIND_MARKS[difference.kind]
    before, after = difference.place
    moved = ""
    if difference.moved:
        moved = f"from {before or 'the top'} to {after or 'the top'}" if before != after else "to another place in it"
    return {
        "kind": css,
        "icon": icon,
        "word": word,
        "code": difference.code,
        "label": difference.label,
        "place": after or before,
        "moved": moved,
        "changes": [
            {
                "label": c.label,
                "before": _value_words(c.field, c.before, registry),
                "after": _value_words(c.field, c.after, registry),
            }
            for c in difference.changes
        ],
    }


def impact_rows(effect: Impact) -> list[dict[str, str]]:
    """What a publication means for runs, deadlines and people."""
    rows = [
        {"label": "Runs in progress", "text": staying_text(effect.staying)},
        {"label": "Next run", "text": f"uses version {effect.number}"},
    ]
    deadlines = [f"{d.label}: {in_words(c.before)} → {in_words(c.after)}" for d, c in effect.diff.deadlines()]
    if deadlines:
        more = f" and {len(deadlines) - MOST_NAMED} more" if len(deadlines) > MOST_NAMED else ""
        rows.append({"label": "Deadlines", "text": "; ".join(deadlines[:MOST_NAMED]) + more})
    if effect.unheld_roles:
        roles = ", ".join(effect.unheld_roles)
        rows.append({"label": "People", "text": f"Nobody holds {roles}; give it to somebody, or nobody gets the work."})
    return rows


def staying_text(staying: Sequence[VersionSummary]) -> str:
    """ "2 stay on version 3, 1 on version 2": runs end on the version that they began with."""
    if not staying:
        return "none"
    return ", ".join(
        f"{version.open_runs} {'stays' if version.open_runs == 1 else 'stay'} on version {version.number}"
        for version in staying
    )


def head_view(head: VersionHead, formats: Formats, versions: Sequence[VersionSummary]) -> dict[str, Any]:
    """The title line of a version."""
    state, word = STATES.get(head.state, ("draft", head.state.capitalize()))
    published = next((v for v in versions if v.state == "published" and v.id != head.id), None)
    sub = ""
    if head.is_draft and published is not None and published.published_at is not None:
        sub = f"Version {published.number} is published since {formats.date(formats.local(published.published_at))}"
    elif head.published_at is not None:
        by = f" by {head.published_by}" if head.published_by else ""
        sub = f"Published {formats.date(formats.local(head.published_at))}{by}"
    return {"state": state, "word": f"{word}, version {head.number}", "sub": sub}


def version_rows(code: str, versions: Sequence[VersionSummary], formats: Formats) -> list[dict[str, Any]]:
    """The versions of a workflow as rows of a table."""
    rows = []
    for index, version in enumerate(versions):
        state, word = STATES.get(version.state, ("draft", version.state.capitalize()))
        before = versions[index + 1].number if index + 1 < len(versions) else None
        href = f"/workflows/{quote(code)}/compare?{urlencode({'from': before, 'to': version.number})}"
        rows.append(
            {
                "id": str(version.id),
                "number": version.number,
                "href": Address(code, version.number).path,
                "state": state,
                "word": word,
                "when": formats.date(formats.local(version.published_at or version.created_at)),
                "by": version.published_by or "",
                "notes": version.notes or "",
                "processes": version.processes,
                "runs": version.runs,
                "open_runs": version.open_runs,
                "compare_href": href if before is not None else None,
            }
        )
    return rows


def contents_text(
    label: str, stages: Sequence[tuple[str, str]], processes: Sequence[tuple[str, str]], edges: int
) -> str:
    """What a removal takes with it: named, as far as a person reads on."""
    parts = []
    if len(stages) > 1:
        parts.append(f"{_count(len(stages) - 1, 'stage')} ({_named([name for _, name in stages[1:]])})")
    if processes and (stages or len(processes) > 1):
        word = _count(len(processes), "process").replace("processs", "processes")
        parts.append(f"{word} ({_named([name for _, name in processes])})")
    if edges:
        parts.append(_count(edges, "dependency").replace("dependencys", "dependencies"))
    if not parts:
        return f"“{label}” is removed from this draft."
    return f"“{label}” is removed from this draft, and with it {', '.join(parts)}."


def _named(names: Sequence[str]) -> str:
    most = 12
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def edge_rows(address: Address, cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The dependencies of a version, each with the link to its editor."""
    return [
        {**row, "href": address.href(item=f"edge.{row['id']}"), "selected": address.item == f"edge.{row['id']}"}
        for row in cells
    ]
