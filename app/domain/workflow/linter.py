"""What is wrong, or odd, with a workflow definition: pure; an error refuses its publication, a warning does not."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime

from app.core.findings import Finding, Severity, error, warning
from app.domain.calendars.calendars import FULL_DAY, WorkingCalendar
from app.domain.calendars.deadlines import DeadlineFormula, parse_deadline
from app.domain.calendars.errors import SlaError
from app.domain.workflow import dependency_rules, kind_rules
from app.domain.workflow.definitions import WorkflowDefinition
from app.domain.workflow.findings import Surroundings
from app.domain.workflow.states import ProcessKind

__all__ = ["Finding", "Severity", "Surroundings", "lint"]

# Deadlines of different zones and anchors can only be compared on a date: one in winter, one in summer.
SAMPLES = (date(2026, 1, 14), date(2026, 7, 15))
_WEEKDAYS = WorkingCalendar(code="WEEKDAYS", version=1, zone="UTC", week=dict.fromkeys(range(5), (FULL_DAY,)))


def lint(definition: WorkflowDefinition, around: Surroundings) -> list[Finding]:
    """Every finding, errors first, in the order of the rules."""
    found = [finding for rule in _RULES for finding in rule(definition, around)]
    return sorted(found, key=lambda finding: finding.severity is not Severity.ERROR)


def _work(definition: WorkflowDefinition, around: Surroundings) -> Iterator[Finding]:
    if not any(True for _ in definition.processes()):
        yield error("no_work", "", "There is no process in it.", "Add a stage with at least one process.")
    for stage, _ in definition.walk():
        if not stage.processes and not stage.stages:
            message = f"The stage “{stage.label}” is empty."
            yield warning("empty_stage", stage.code, message, "Add a process to it, or remove it.")


def _calendar(definition: WorkflowDefinition, around: Surroundings) -> Iterator[Finding]:
    if not around.calendar_published:
        message = f"The calendar {definition.calendar} has no published version, so no deadline can be computed."
        yield error("missing_calendar", "", message, "Publish a version of the calendar, or choose another.")


def _owners(definition: WorkflowDefinition, around: Surroundings) -> Iterator[Finding]:
    for process, _ in definition.processes():
        if process.owner_role is None:
            message = f"“{process.label}” has no owner."
            if not process.kind.attended:
                yield warning("missing_owner", process.code, message, "Name the role that looks after it if it fails.")
            else:
                yield error("missing_owner", process.code, message, "Name the role that does it.")
        named = [process.owner_role, *(level.role for level in process.approval_levels)]
        for role in dict.fromkeys(role for role in named if role is not None):
            if around.roles is not None and role not in around.roles:
                message = f"“{process.label}” names the role {role}, which does not exist."
                yield error("unknown_role", process.code, message, "Choose a role that exists, or create it.")


def _approvals(definition: WorkflowDefinition, around: Surroundings) -> Iterator[Finding]:
    for process, _ in definition.processes():
        levels = process.approval_levels
        if process.kind.decided and not levels:
            message = f"The {process.kind.label.lower()} “{process.label}” has no approval level."
            yield error("no_levels", process.code, message, "Add at least one level with the role that decides.")
        if process.kind is ProcessKind.AUTOMATIC and levels:
            message = f"“{process.label}” is automatic and has approval levels."
            yield error("automatic_levels", process.code, message, "Remove them; add an approval that follows it.")
        if [level.level for level in levels] != list(range(1, len(levels) + 1)):
            message = f"The approval levels of “{process.label}” are not numbered 1, 2, 3 in order."
            yield error("level_numbers", process.code, message, "Number them from 1 without a gap.")
        if process.skip_second_person and not process.skip_allowed:
            message = f"“{process.label}” names a second person for a skip, and may not be skipped."
            yield warning("skip_of_nothing", process.code, message, "Allow the skip, or take the second person off.")
        if any(level.role is not None and level.role == process.owner_role for level in levels):
            message = f"“{process.label}” is prepared and approved by the same role {process.owner_role}."
            satisfy = "Give the approval to another role: maker is not checker."
            yield error("maker_approves", process.code, message, satisfy)


def _controls(definition: WorkflowDefinition, around: Surroundings) -> Iterator[Finding]:
    for process, _ in definition.processes():
        if process.kind is ProcessKind.AUTOMATIC:
            if process.action is None:
                message = f"“{process.label}” is automatic and has no action."
                yield error("no_action", process.code, message, "Choose the job that does it.")
            elif around.actions is not None and process.action not in around.actions:
                message = f"“{process.label}” names the action {process.action}, which does not exist."
                known = ", ".join(sorted(around.actions)) or "none"
                yield error("unknown_action", process.code, message, f"Choose one of: {known}.")
            if process.evidence or process.checklist or process.questions or process.require_comment:
                message = f"“{process.label}” is automatic: nobody can attach evidence, tick items or comment on it."
                yield warning("automatic_controls", process.code, message, "Put these on a process that people do.")
        if process.kind is ProcessKind.CHECKLIST and not process.checklist:
            message = f"The checklist “{process.label}” has no items."
            yield error("empty_checklist", process.code, message, "Add an item, or make it a manual process.")
        for what, codes in (
            ("checklist item", [item.code for item in process.checklist]),
            ("evidence", [item.code for item in process.evidence]),
            ("question", [item.code for item in process.questions]),
        ):
            for code in sorted({code for code in codes if codes.count(code) > 1}):
                message = f"“{process.label}” has the {what} {code} more than once."
                yield error("doubled_code", process.code, message, "Give each a code of its own.")


def _deadlines(definition: WorkflowDefinition, around: Surroundings) -> Iterator[Finding]:
    for stage, _ in definition.walk():
        yield from _unreadable(stage.code, stage.label, stage.deadline, "deadline")
    for process, _ in definition.processes():
        yield from _unreadable(process.code, process.label, process.deadline, "deadline")
        yield from _unreadable(process.code, process.label, process.earliest_start, "earliest start")
        for level in process.approval_levels:
            yield from _unreadable(process.code, process.label, level.deadline, f"deadline of level {level.level}")
            due, own = _instants(process.deadline), _instants(level.deadline)
            if due is not None and own is not None and _before(due, own):
                message = f"Level {level.level} of “{process.label}” is due after the process itself."
                yield error("level_after_process", process.code, message, "Make the level's deadline earlier.")
        if process.deadline is None:
            report = error if process.critical else warning
            message = f"“{process.label}” has no deadline, so nobody is warned when it is late."
            yield report("blank_due_date", process.code, message, "Enter a deadline such as BD+0 18:00 Europe/Berlin.")
    yield from _impossible_deadlines(definition)


def _unreadable(code: str, label: str, formula: str | None, what: str) -> Iterator[Finding]:
    if formula is None:
        return
    try:
        parse_deadline(formula)
    except SlaError as problem:
        yield error("unreadable_deadline", code, f"The {what} of “{label}” cannot be read. {problem}", "Correct it.")


def _impossible_deadlines(definition: WorkflowDefinition) -> Iterator[Finding]:
    """A deadline before a predecessor's, also through predecessors that have none; or before the earliest start."""
    processes = {process.code: process for process, _ in definition.processes()}
    due = {code: instants for code, p in processes.items() if (instants := _instants(p.deadline)) is not None}
    for process in processes.values():
        start = _instants(process.earliest_start)
        if start is not None and process.code in due and _before(due[process.code], start):
            message = f"“{process.label}” is due before it may start."
            yield error("deadline_before_start", process.code, message, "Make its deadline later.")
    for code, (other, other_code) in _latest_before(definition, due).items():
        if code in due and _before(due[code], other):
            process, predecessor = processes[code], processes[other_code]
            message = (
                f"“{process.label}” is due {process.deadline}, before “{predecessor.label}”, which it waits for "
                f"({predecessor.deadline})."
            )
            yield error("deadline_before_predecessor", code, message, "Make its deadline later, or the other earlier.")
    for edge in filter(dependency_rules.holds_back_the_end, definition.dependencies):
        before, after = due.get(edge.predecessor), due.get(edge.successor)
        if edge.lag is None or before is None or after is None or _before(after, before):
            continue
        if _before(after, tuple(edge.lag.time.after(instant, _WEEKDAYS) for instant in before)):
            process, predecessor = processes[edge.successor], processes[edge.predecessor]
            message = (
                f"“{process.label}” is due {process.deadline}, less than the lag of {edge.lag.time} after "
                f"“{predecessor.label}” ({predecessor.deadline})."
            )
            satisfy = "Make its deadline later, the other earlier, or the lag shorter."
            yield error("lag_beyond_deadline", edge.successor, message, satisfy)


_Instants = tuple[datetime, ...]


def _latest_before(definition: WorkflowDefinition, due: dict[str, _Instants]) -> dict[str, tuple[_Instants, str]]:
    """For each process the latest deadline among those it waits for. Processes on a cycle are left out."""
    incoming: defaultdict[str, int] = defaultdict(int)
    successors: defaultdict[str, list[str]] = defaultdict(list)
    for edge in filter(dependency_rules.holds_back_the_end, definition.dependencies):
        incoming[edge.successor] += 1
        successors[edge.predecessor].append(edge.successor)
    free = [process.code for process, _ in definition.processes() if not incoming[process.code]]
    latest: dict[str, tuple[_Instants, str]] = {}
    while free:
        code = free.pop()
        carried = (due[code], code) if code in due else latest.get(code)
        for successor in successors[code]:
            known = latest.get(successor)
            if carried is not None and (known is None or _before(known[0], carried[0])):
                latest[successor] = carried
            incoming[successor] -= 1
            if not incoming[successor]:
                free.append(successor)
    return latest


def _before(one: _Instants, other: _Instants) -> bool:
    return any(a < b for a, b in zip(one, other, strict=True))


def _instants(formula: str | None) -> _Instants | None:
    parsed = _parsed(formula)
    return None if parsed is None else tuple(parsed.resolve(day, _WEEKDAYS) for day in SAMPLES)


def _parsed(formula: str | None) -> DeadlineFormula | None:
    try:
        return None if formula is None else parse_deadline(formula)
    except SlaError:
        return None  # reported as unreadable


_Rule = Callable[[WorkflowDefinition, Surroundings], Iterable[Finding]]
_RULES: tuple[_Rule, ...] = (
    _work,
    _calendar,
    dependency_rules.cycles,
    dependency_rules.edges,
    dependency_rules.conditions,
    dependency_rules.other_workflows,
    _owners,
    _approvals,
    _controls,
    _deadlines,
    *kind_rules.RULES,
)
