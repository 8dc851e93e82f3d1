"""What is wrong with waits, sign-offs, questions, checks of evidence and routing rules in a definition: pure."""

import re
from collections.abc import Callable, Iterable, Iterator

from app.core.findings import Finding, error, warning
from app.domain.calendars.deadlines import parse_deadline
from app.domain.calendars.errors import SlaError
from app.domain.rules.purposes import Purpose
from app.domain.workflow.answers import YES_NO
from app.domain.workflow.definitions import AnswerType, ProcessDefinition, Question, Wait, WaitKind, WorkflowDefinition
from app.domain.workflow.edges import EdgeType, Hardness
from app.domain.workflow.findings import Surroundings
from app.domain.workflow.states import ProcessKind
from app.domain.workflow.table_files import decimal_of
from app.domain.workflow.wait_patterns import pattern_problem

_FOLDER = re.compile(r"[A-Za-z0-9_-]+")
TABLES = frozenset({"csv", "xlsx"})


def waits(definition: WorkflowDefinition, around: Surroundings) -> Iterator[Finding]:
    for process, _ in definition.processes():
        label = process.label
        if process.kind is not ProcessKind.WAIT_FOR:
            if process.wait is not None:
                message = f"“{label}” says what it waits for, and is no wait."
                yield error("wait_of_another_kind", process.code, message, "Make it a wait, or take that off.")
            continue
        if process.approval_levels or process.evidence or process.checklist or process.questions:
            message = f"“{label}” waits: nobody works on it, so there is nothing to approve, attach or answer."
            yield error("controls_of_a_wait", process.code, message, "Put these on a process that follows it.")
        if process.wait is None:
            message = f"“{label}” does not say what it waits for."
            yield error("waits_for_nothing", process.code, message, "Choose a file, an event or a time.")
            continue
        for said, satisfy in _wait_problems(process.wait, around):
            yield error("wait", process.code, f"What “{label}” waits for is not complete: {said}.", satisfy)
        if process.wait.kind is not WaitKind.TIME and process.deadline is None:
            message = f"“{label}” may wait for ever without anybody being told."
            yield warning("wait_without_end", process.code, message, "Give it a deadline: it is expected by then.")


def _wait_problems(wait: Wait, around: Surroundings) -> Iterator[tuple[str, str]]:
    match wait.kind:
        case WaitKind.FILE:
            problem = "the name of the file is missing" if wait.pattern is None else pattern_problem(wait.pattern)
            if problem:
                yield problem, "Write a name such as rates_{business_date}_*.csv."
            if wait.folder and not all(_FOLDER.fullmatch(part) for part in wait.folder.split("/")):
                yield f"{wait.folder} is no folder of the inbox", "Use letters, digits, - and _."
        case WaitKind.EVENT:
            problem = "the event is missing" if wait.event is None else None
            if wait.event is not None and around.event_problem is not None:
                problem = around.event_problem(wait.event, wait.condition)
            if problem:
                yield problem, "Name an event such as rate_load.confirmed or run:RATES, and a filter on its record."
        case WaitKind.TIME:
            if wait.until is None:
                yield "the time is missing", "Write a time such as BD+0 17:00 Europe/London."
                return
            try:
                parse_deadline(wait.until)
            except SlaError as unreadable:
                yield str(unreadable).rstrip("."), "Write a time such as BD+0 17:00 Europe/London."


def sign_offs(definition: WorkflowDefinition, around: Surroundings) -> Iterator[Finding]:
    signs = {
        edge.successor
        for edge in definition.dependencies
        if edge.within and edge.hardness is Hardness.HARD and edge.type in (EdgeType.FS, EdgeType.FF)
    }
    followed = {edge.successor for edge in definition.dependencies}
    for process, _ in definition.processes():
        if process.kind is ProcessKind.SIGN_OFF and process.code in followed - signs:
            message = f"“{process.label}” signs nothing: it follows no work of this workflow that must have ended."
            yield error("signs_nothing", process.code, message, "Let it wait for the end of the work that it signs.")


def questions(definition: WorkflowDefinition, around: Surroundings) -> Iterator[Finding]:
    for process, _ in definition.processes():
        if process.questions and process.kind.decided:
            message = f"“{process.label}” is decided on, and has questions that nobody prepares."
            yield error("questions_of_a_decision", process.code, message, "Put them on the work that it decides on.")
        for question in process.questions:
            problem = _question_problem(question)
            if problem:
                message = f"The question “{question.label}” of “{process.label}”: {problem}."
                yield error("question", process.code, message, "Correct it.")


def _question_problem(question: Question) -> str | None:
    expected = question.expected
    match question.type:
        case AnswerType.CHOICE if len(question.options) < 2:
            return "a choice needs at least two options"
        case AnswerType.CHOICE if expected is not None and expected not in question.options:
            return f"the expected answer {expected} is none of the options"
        case AnswerType.YES_NO if expected is not None and expected not in YES_NO:
            return "the expected answer is yes or no"
        case AnswerType.NUMBER if expected is not None and decimal_of(expected) is None:
            return "the expected answer is no number"
    return "only a choice has options" if question.options and question.type is not AnswerType.CHOICE else None


def evidence(definition: WorkflowDefinition, around: Surroundings) -> Iterator[Finding]:
    for process, _ in definition.processes():
        for wanted in process.evidence:
            what = f"The evidence “{wanted.label}” of “{process.label}”"
            if (wanted.tie_column is None) is not (wanted.tie_figure is None):
                message = f"{what} names {'a column' if wanted.tie_column else 'a figure'} and not what it ties out to."
                yield error("half_a_tie_out", process.code, message, "Name both the column and the figure, or neither.")
            checked = wanted.min_rows is not None or wanted.tie_column is not None
            other = sorted(set(wanted.file_types) - TABLES)
            if checked and other:
                message = f"{what} is checked as a table, and may be {', '.join(other)}, which cannot be read as one."
                yield error("unreadable_evidence", process.code, message, "Accept csv and xlsx only.")


def routing(definition: WorkflowDefinition, around: Surroundings) -> Iterator[Finding]:
    for process, _ in definition.processes():
        finding = _routing(process, around)
        if finding is not None:
            yield finding


def _routing(process: ProcessDefinition, around: Surroundings) -> Finding | None:
    code = process.rule
    if code is None or around.rules is None:
        return None
    rule = around.rules.get(code)
    if rule is None or not rule.active:
        message = f"“{process.label}” names the rule {code}, which does not exist or is inactive."
        return error("unknown_rule", process.code, message, "Choose an active rule.")
    if rule.purpose != Purpose.PROCESS_ROUTING:
        message = f"“{process.label}” names the rule {code}, which is not made to route processes."
        return error("rule_of_another_purpose", process.code, message, "Choose a rule for the routing of processes.")
    if not rule.published:
        message = f"“{process.label}” names the rule {code}, of which no version is published."
        return warning("unpublished_rule", process.code, message, "Publish it before the first run.")
    return None


RULES: tuple[Callable[[WorkflowDefinition, Surroundings], Iterable[Finding]], ...] = (
    waits,
    sign_offs,
    questions,
    evidence,
    routing,
)
