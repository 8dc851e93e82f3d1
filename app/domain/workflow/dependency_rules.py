"""What is wrong, or odd, with the dependencies of a workflow definition: the linter's rules about them. Pure.

Cycles are looked for among beginnings and ends: a process cannot end before it has begun, and each dependency adds that
something of its successor cannot happen before something of its predecessor. A circle of these can never be met. It may
lead through other workflows where the run that is meant can be one of the same business date; a run of the date before,
or the latest that is done, is another one, so that no circle closes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from app.core.findings import Finding, error, warning
from app.domain.calendars.deadlines import parse_deadline
from app.domain.calendars.errors import SlaError
from app.domain.workflow.definitions import Dependency, ProcessDefinition, WorkflowDefinition
from app.domain.workflow.edges import EdgeType, Hardness, may_be_the_same_date
from app.domain.workflow.findings import OtherWorkflow, Surroundings
from app.domain.workflow.graph import find_cycle
from app.domain.workflow.states import ProcessKind


@dataclass(frozen=True, slots=True, order=True)
class Moment:
    """The beginning or the end of a process of a workflow."""

    workflow: str
    process: str
    end: bool


def cycles(definition: WorkflowDefinition, around: Surroundings) -> Iterator[Finding]:
    """Dependencies that wait for each other in a circle."""
    others = around.workflows or {}
    hard = _circle(definition, others, {Hardness.HARD})
    if hard is not None:
        message = f"These wait for each other: {_way(definition, hard)}.{_because(definition, hard)}"
        yield error("cycle", _place(definition, hard), message, "Remove one of these dependencies.")
        return
    soft = _circle(definition, others, set(Hardness))
    if soft is not None:
        message = f"With their soft or advisory dependencies these wait for each other: {_way(definition, soft)}."
        yield warning("soft_cycle", _place(definition, soft), message, "Remove one of these dependencies.")


def edges(definition: WorkflowDefinition, around: Surroundings) -> Iterator[Finding]:
    """Dependencies that can never be satisfied, and processes that have none."""
    processes = {process.code: process for process, _ in definition.processes()}
    for edge in definition.dependencies:
        predecessor = processes.get(edge.predecessor) if edge.within else None
        if predecessor is not None and _never_satisfied(predecessor, edge):
            message = f"It waits for “{predecessor.label}” to end in a state that it never reaches."
            yield error("unreachable", edge.successor, message, "Accept `done`, or remove the dependency.")
        if edge.hardness is Hardness.SOFT and processes[edge.successor].kind is ProcessKind.AUTOMATIC:
            message = f"“{processes[edge.successor].label}” is automatic, and a soft dependency does not hold it back."
            yield warning("soft_automatic", edge.successor, message, "Make it hard, or advisory.")
    inside = [edge for edge in definition.dependencies if edge.within]
    linked = {code for edge in inside for code in (edge.predecessor, edge.successor)}
    successors = {edge.successor for edge in definition.dependencies}
    if len(processes) > 1:
        for code, process in processes.items():
            if code not in linked | successors:
                message = f"“{process.label}” depends on nothing and nothing depends on it."
                yield warning("orphan", code, message, "Add a dependency, if it has a place in the order of work.")
    for code, process in processes.items():
        if process.kind.decided and code not in successors:
            message = (
                f"The {process.kind.label.lower()} “{process.label}” follows nothing, so there is nothing to decide on."
            )
            yield warning("approval_of_nothing", code, message, "Let it depend on the work that it approves.")


def conditions(definition: WorkflowDefinition, around: Surroundings) -> Iterator[Finding]:
    """Conditions that cannot be read."""
    if around.condition_problem is None:
        return
    for edge in definition.dependencies:
        problem = None if edge.condition is None else around.condition_problem(edge.condition)
        if problem is not None:
            message = f"The condition of its dependency on {edge.predecessor} cannot be read: {problem}."
            yield error("unreadable_condition", edge.successor, message, "Correct it, or remove it.")


def other_workflows(definition: WorkflowDefinition, around: Surroundings) -> Iterator[Finding]:
    """Dependencies on runs of other workflows."""
    for edge in definition.dependencies:
        if edge.workflow is None or edge.run_selector is None:
            continue
        yield from _expected(edge)
        if edge.workflow == definition.code:
            yield from _own_runs(definition, edge)
            continue
        other = None if around.workflows is None else around.workflows.get(edge.workflow)
        if other is None:
            continue
        if not other.published:
            message = f"It waits for {edge.predecessor} of {other.label}, which has no published version."
            yield warning("other_unpublished", edge.successor, message, f"Publish {edge.workflow} as well.")
        elif edge.predecessor not in other.processes:
            message = f"It waits for {edge.predecessor} of {other.label}, whose published version has no such process."
            known = ", ".join(sorted(other.processes)[:10])
            yield error("unknown_process", edge.successor, message, f"Choose one of its processes: {known}.")


def _expected(edge: Dependency) -> Iterator[Finding]:
    what = f"its dependency on {edge.predecessor} of {edge.workflow}"
    if edge.expected_by is None:
        if edge.hardness is Hardness.HARD:
            message = f"Nobody is told when the run does not come that {what} waits for."
            yield warning("never_expected", edge.successor, message, "Say by when it is expected.")
        return
    try:
        parse_deadline(edge.expected_by)
    except SlaError as problem:
        message = f"The time by which {what} expects the run cannot be read. {problem}"
        yield error("unreadable_deadline", edge.successor, message, "Correct it.")


def _own_runs(definition: WorkflowDefinition, edge: Dependency) -> Iterator[Finding]:
    codes = {process.code for process, _ in definition.processes()}
    if edge.predecessor not in codes:
        message = f"It waits for {edge.predecessor} of another run of this workflow, which has no such process."
        yield error("unknown_process", edge.successor, message, "Choose one of its processes.")
    if edge.run_selector is not None and may_be_the_same_date(edge.run_selector):
        message = f"It waits for {edge.predecessor} of its own workflow and of what may be its own date."
        satisfy = "Use a dependency within the workflow, or a run of an earlier date."
        yield error("own_run", edge.successor, message, satisfy)


def _never_satisfied(predecessor: ProcessDefinition, edge: Dependency) -> bool:
    if edge.type.on_start:
        return False
    reachable = {"done", "cancelled"}
    reachable |= {"skipped"} if predecessor.skip_allowed else set()
    reachable |= {"failed"} if predecessor.kind is ProcessKind.AUTOMATIC else set()
    return not reachable & set(edge.accepts)


# -- circles -----------------------------------------------------------------------------------------------------------


def _circle(
    definition: WorkflowDefinition, others: Mapping[str, OtherWorkflow], hardness: set[Hardness]
) -> list[Moment] | None:
    moments: set[Moment] = set()
    steps: list[tuple[Moment, Moment]] = []
    graphs = {definition.code: definition.dependencies}
    graphs |= {code: other.dependencies for code, other in others.items() if code != definition.code}
    for workflow, dependencies in graphs.items():
        for edge in dependencies:
            if edge.hardness in hardness and (edge.run_selector is None or may_be_the_same_date(edge.run_selector)):
                before = Moment(edge.workflow or workflow, edge.predecessor, not edge.type.on_start)
                after = Moment(workflow, edge.successor, not edge.type.gates_start)
                moments |= {before, after}
                steps.append((before, after))
    lives = {(moment.workflow, moment.process) for moment in moments}
    for workflow, process in lives:
        moments |= {Moment(workflow, process, False), Moment(workflow, process, True)}
        steps.append((Moment(workflow, process, False), Moment(workflow, process, True)))
    return find_cycle(sorted(moments), steps)


def _name(definition: WorkflowDefinition, moment: Moment) -> str:
    return moment.process if moment.workflow == definition.code else f"{moment.workflow}.{moment.process}"


def _way(definition: WorkflowDefinition, circle: list[Moment]) -> str:
    """The processes on it in order, each once in a row."""
    names = [_name(definition, moment) for moment in circle]
    turned = [name for number, name in enumerate(names) if name != names[number - 1]] or names[:1]
    return " → ".join([*turned, turned[0]])


def _because(definition: WorkflowDefinition, circle: list[Moment]) -> str:
    """What must come before what, where it is more than that each waits for the end of the one before."""
    steps = [
        (before, after)
        for before, after in zip(circle, [*circle[1:], circle[0]], strict=True)
        if (before.workflow, before.process) != (after.workflow, after.process)
    ]
    if all(before.end and not after.end for before, after in steps):
        return ""
    said = [
        f"{_name(definition, after)} cannot {'end' if after.end else 'begin'} before {_name(definition, before)} has "
        f"{'ended' if before.end else 'begun'}"
        for before, after in steps
    ]
    return f" {'; '.join(said)}."


def _place(definition: WorkflowDefinition, circle: list[Moment]) -> str:
    return next((moment.process for moment in circle if moment.workflow == definition.code), "")


def holds_back_the_end(edge: Dependency) -> bool:
    """Whether the successor cannot end before the predecessor has: what deadlines have to agree with."""
    return edge.within and edge.hardness is Hardness.HARD and edge.type in (EdgeType.FS, EdgeType.FF)
