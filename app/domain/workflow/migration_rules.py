"""What becomes of each process of a run when the run goes over to another version of its workflow. Pure.

The dry run and the migration itself are this one decision, the latter taken again under the lock of the run.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

from app.core.errors import FieldProblem
from app.domain.workflow.definitions import ProcessDefinition, WorkflowDefinition
from app.domain.workflow.states import ProcessKind, ProcessState, RunState


class Rule(StrEnum):
    """How work closes that the new version does not have any more."""

    SKIP = "skip"
    CANCEL = "cancel"

    @property
    def state(self) -> ProcessState:
        return ProcessState.SKIPPED if self is Rule.SKIP else ProcessState.CANCELLED


class Fate(StrEnum):
    KEPT = "kept"
    RENAMED = "renamed"
    ADDED = "added"
    CLOSED = "closed"  # open work that the new version does not have, closed by its rule
    HISTORY = "history"  # closed work that the new version does not have, kept as it is
    AD_HOC = "ad_hoc"  # work of this run alone
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Mapped:
    """A process of the old version: `to` is its code in the new one, or None with the rule by which it closes."""

    code: str
    to: str | None
    rule: Rule = Rule.CANCEL


@dataclass(frozen=True, slots=True)
class ProcessNow:
    """A process of the run as it stands. `begun`: somebody, or a worker, has done something about it."""

    id: UUID
    code: str
    label: str
    kind: ProcessKind
    state: ProcessState
    begun: bool
    level: int = 0
    ad_hoc: bool = False
    assigned: bool = False
    answers: frozenset[str] = frozenset()
    evidence: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Line:
    """What becomes of one process. `lost`: what the run has and the new version has no place for."""

    code: str
    label: str
    fate: Fate
    state: ProcessState | None = None
    to_code: str | None = None
    to_label: str | None = None
    rule: Rule | None = None
    process_run_id: UUID | None = None
    notes: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    refusal: str = ""

    def plain(self) -> dict[str, Any]:
        """As JSON, for the outcome that is kept with the plan."""
        return {
            "code": self.code,
            "label": self.label,
            "fate": self.fate.value,
            "state": self.state.value if self.state else None,
            "to": self.to_code,
            "to_label": self.to_label,
            "rule": self.rule.value if self.rule else None,
            "notes": list(self.notes),
            "lost": list(self.lost),
            "refusal": self.refusal,
        }


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Lines in the order of the new version, what it does not have behind them. Refused as a whole or not at all."""

    lines: tuple[Line, ...]
    refusals: tuple[str, ...] = ()

    @property
    def possible(self) -> bool:
        return not self.refusals

    def count(self, *fates: Fate) -> int:
        return sum(line.fate in fates for line in self.lines)

    def in_words(self) -> str:
        if self.refusals:
            return " ".join(self.refusals)
        counts = Counter(line.fate for line in self.lines)
        said = [f"{number} {_FATE_WORDS[fate]}" for fate in Fate if (number := counts[fate])]
        lost = sum(len(line.lost) for line in self.lines)
        return ", ".join(said) + (f"; {lost} lost" if lost else "")


_FATE_WORDS = {
    Fate.KEPT: "kept", Fate.RENAMED: "renamed", Fate.ADDED: "added", Fate.CLOSED: "closed",
    Fate.HISTORY: "kept as history", Fate.AD_HOC: "of this run alone", Fate.REFUSED: "refused",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Way:
    """From one version to another: the two definitions, and what the plan says about single processes."""

    before: WorkflowDefinition
    after: WorkflowDefinition
    mapping: Mapping[str, Mapped] = field(default_factory=dict)

    def target(self, code: str) -> Mapped:
        """Where a process goes: as the plan says, else to the same code, else it closes by cancellation."""
        if code in self.mapping:
            return self.mapping[code]
        known = {process.code for process, _ in self.after.processes()}
        return Mapped(code, code if code in known else None)


def mapping_of(given: Iterable[Mapping[str, Any]]) -> dict[str, Mapped]:
    """Read a plan's mapping as it is kept: `{"from": "a", "to": "b"}` or `{"from": "a", "rule": "skip"}`."""
    found: dict[str, Mapped] = {}
    for item in given:
        to = item.get("to") or None
        found[str(item["from"])] = Mapped(str(item["from"]), to, Rule(item.get("rule") or Rule.CANCEL))
    return found


def mapping_problems(way: Way) -> list[FieldProblem]:
    """What is wrong with a mapping, whatever the runs are."""
    old = {process.code: process for process, _ in way.before.processes()}
    new = {process.code: process for process, _ in way.after.processes()}
    problems = [
        FieldProblem(f"mapping.{code}", f"The old version has no process {code}.", "unknown")
        for code in way.mapping
        if code not in old
    ]
    for code, mapped in way.mapping.items():
        if mapped.to is not None and mapped.to not in new:
            problems.append(FieldProblem(f"mapping.{code}", f"The new version has no process {mapped.to}.", "unknown"))
    targets = Counter(mapped.to for code in old if (mapped := way.target(code)).to is not None)
    for to, count in targets.items():
        if count > 1:
            message = f"{count} processes would become {to}; each process of the new version comes from one at most."
            problems.append(FieldProblem("mapping", message, "duplicate"))
    return problems


def suggested(before: WorkflowDefinition, after: WorkflowDefinition) -> dict[str, str]:
    """Processes that look renamed: gone under their code, and there under another with the same label or action."""
    old = {process.code: process for process, _ in before.processes()}
    new = {process.code: process for process, _ in after.processes()}
    free = {code: process for code, process in new.items() if code not in old}
    found: dict[str, str] = {}
    for code, process in old.items():
        if code in new:
            continue
        match = next((c for c, p in free.items() if c not in found.values() and _alike(process, p)), None)
        if match is not None:
            found[code] = match
    return found


def _alike(one: ProcessDefinition, other: ProcessDefinition) -> bool:
    if one.kind is not other.kind:
        return False
    return one.label.casefold() == other.label.casefold() or (one.action is not None and one.action == other.action)


def plan_run(way: Way, processes: Sequence[ProcessNow], *, run_state: RunState) -> RunPlan:
    """What becomes of each process of a run, or why the run cannot go over."""
    if run_state not in (RunState.ACTIVE, RunState.ON_HOLD):
        words = run_state.value.replace("_", " ")
        return RunPlan((), (f"The run is {words}: it stays on the version that it ended on.",))
    new = {process.code: process for process, _ in way.after.processes()}
    old = {process.code: process for process, _ in way.before.processes()}
    lines: dict[str, Line] = {}
    rest: list[Line] = []
    for process in processes:
        if process.ad_hoc:
            rest.append(Line(process.code, process.label, Fate.AD_HOC, process.state, process_run_id=process.id))
            continue
        mapped = way.target(process.code)
        definition = new.get(mapped.to) if mapped.to is not None else None
        if definition is None:
            rest.append(_removed(process, mapped.rule))
        else:
            lines[definition.code] = _kept(process, definition, old.get(process.code))
    for code, definition in new.items():
        if code not in lines:
            lines[code] = Line(code, definition.label, Fate.ADDED, to_code=code, to_label=definition.label)
    ordered = (*(lines[code] for code in new), *rest)
    return RunPlan(ordered, tuple(line.refusal for line in ordered if line.refusal))


def _removed(process: ProcessNow, rule: Rule) -> Line:
    line = Line(process.code, process.label, Fate.HISTORY, process.state, process_run_id=process.id)
    if process.state.closed:
        return replace(line, notes=("stays as it was done",))
    if process.begun:
        refusal = (
            f"“{process.label}” is {process.state.label.lower()} and the new version does not have it: finish it, "
            "cancel it, or map it to another process first."
        )
        return replace(line, fate=Fate.REFUSED, refusal=refusal)
    notes = ("somebody has taken it",) if process.assigned else ()
    return replace(line, fate=Fate.CLOSED, rule=rule, notes=notes)


def _kept(process: ProcessNow, definition: ProcessDefinition, before: ProcessDefinition | None) -> Line:
    refusal = _refusal(process, definition)
    renamed = process.code != definition.code
    fate = Fate.REFUSED if refusal else (Fate.RENAMED if renamed else Fate.KEPT)
    return Line(
        code=process.code,
        label=process.label,
        fate=fate,
        state=process.state,
        to_code=definition.code,
        to_label=definition.label,
        process_run_id=process.id,
        notes=tuple(_notes(process, definition, before)),
        lost=tuple(_lost(process, definition, before)),
        refusal=refusal,
    )


def _refusal(process: ProcessNow, definition: ProcessDefinition) -> str:
    if process.state.closed:
        return ""
    if process.begun and process.kind is not definition.kind:
        return (
            f"“{process.label}” is under way as {process.kind.value} work and would become {definition.kind.value}: "
            "finish it first."
        )
    if process.state is ProcessState.IN_REVIEW and process.begun and process.level > len(definition.approval_levels):
        return (
            f"“{process.label}” waits for level {process.level}, which the new version does not have: approve or "
            "reject it first."
        )
    return ""


def _notes(process: ProcessNow, definition: ProcessDefinition, before: ProcessDefinition | None) -> Iterable[str]:
    if before is None or before == definition:
        return
    if process.state.closed:
        yield "stays as it was done by the old version"
        return
    if definition.deadline != before.deadline:
        yield f"due {definition.deadline or 'without a deadline'}, was {before.deadline or 'without'}"
    if definition.owner_role != before.owner_role:
        yield f"work of {definition.owner_role or 'nobody'}, was of {before.owner_role or 'nobody'}"
    if len(definition.approval_levels) != len(before.approval_levels):
        yield f"{len(definition.approval_levels)} approval levels, were {len(before.approval_levels)}"
    asked = {item.code for item in before.evidence} | {item.code for item in before.checklist}
    new = [wanted.label for wanted in definition.evidence if wanted.code not in asked]
    new += [item.label for item in definition.checklist if item.code not in asked]
    if new:
        yield f"asks for {', '.join(new)} as well"
        if process.state is ProcessState.IN_REVIEW and process.begun:
            yield "it has to be handed in again for that"


def _lost(process: ProcessNow, definition: ProcessDefinition, before: ProcessDefinition | None) -> Iterable[str]:
    if process.state.closed or before is None:
        return
    items, files = {item.code for item in definition.checklist}, {item.code for item in definition.evidence}
    for item in before.checklist:
        if item.code in process.answers and item.code not in items:
            yield f"the answer to “{item.label}”"
    for wanted in before.evidence:
        if wanted.code in process.evidence and wanted.code not in files:
            yield f"the place of “{wanted.label}”; its files stay attached"
