"""What the actor may do with a process run now, and why not the rest: decided by the code that the commands use."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from app.core.uow import UnitOfWork
from app.domain.access.decisions import refusal
from app.domain.workflow.acting import Acting, Command
from app.domain.workflow.content import (
    Content,
    Requirement,
    digest,
    plugged_in,
    read_content,
    requirements,
)
from app.domain.workflow.decisions import Refusal, queries_in_words
from app.domain.workflow.gates import OpenEdge, end_refused, open_edges, soft_in_the_way, soft_warning
from app.domain.workflow.outcomes import after
from app.domain.workflow.people import Person, who_else
from app.domain.workflow.process_row import ProcessRow, read_process
from app.domain.workflow.states import BY_PEOPLE, Guard, Input, Name, ProcessKind, Transition, Who
from app.domain.workflow.transitions import check_signing
from app.domain.workflow.ways import open_to, require_visible, ways_to_act


@dataclass(frozen=True, slots=True)
class ActionState:
    """One action that the present state offers. `guard`, `refusal`, `satisfy`: why the actor cannot, if not allowed.

    `warning`: it is allowed, and goes over a soft dependency, for which it needs a reason.
    """

    name: Name
    label: str
    allowed: bool
    needs: tuple[Input, ...]
    guard: str | None = None
    refusal: str | None = None
    satisfy: str | None = None
    who_can: tuple[Person, ...] = ()
    acting_for: str | None = None  # by whose authority the actor could do it, where not by their own
    warning: str | None = None


async def allowed_actions(uow: UnitOfWork, process_run_id: UUID) -> list[ActionState]:
    """Every transition by people that the present state offers to anybody, with the actor's own verdict."""
    row = await read_process(uow, process_run_id)
    require_visible(uow, row)
    content = await read_content(uow, row) if has_content(row) else None
    found = await full_requirements(uow, row, content) if content is not None else ()
    return await actions_on(uow, row, content, found)


def has_content(row: ProcessRow) -> bool:
    """Whether a transition is offered that looks at what was prepared."""
    return any(rule.content for rule in _offered(row))


async def full_requirements(uow: UnitOfWork, row: ProcessRow, content: Content) -> tuple[Requirement, ...]:
    """The controls of the definition and what other features find missing."""
    own = requirements(content, row, row.comment)
    others = [Requirement(u.guard, u.label, False, u.satisfy) for u in await plugged_in(uow, row)]
    if row.blocking_queries > 0:
        label = "No open query holds it up"
        others.append(Requirement(Guard.OPEN_QUERY, label, False, queries_in_words(row)))
    return (*own, *others)


async def actions_on(
    uow: UnitOfWork, row: ProcessRow, content: Content | None, found: Sequence[Requirement]
) -> list[ActionState]:
    """As `allowed_actions`, for a process that has been read."""
    return await _states(uow, row, _offered(row), content, found)


async def action_on(uow: UnitOfWork, row: ProcessRow, name: Name) -> ActionState | None:
    """The verdict on one action; None where the present state does not offer it."""
    rules = [rule for rule in _offered(row) if rule.name is name]
    content = await read_content(uow, row) if any(rule.content for rule in rules) else None
    found = await full_requirements(uow, row, content) if content is not None else ()
    return next(iter(await _states(uow, row, rules, content, found)), None)


async def _states(
    uow: UnitOfWork,
    row: ProcessRow,
    rules: Sequence[Transition],
    content: Content | None,
    found: Sequence[Requirement],
) -> list[ActionState]:
    known: dict[str | None, tuple[Person, ...]] = {}
    result: list[ActionState] = []
    open_ = await open_edges(uow, row)
    for rule in rules:
        refused, acting_for = await _judged(uow, rule, row, content, found)
        behind, soft = _gates(uow, rule, row, open_)
        refused = refused or behind
        given = rule.name is Name.SKIP and row.skip_requested_by_id is not None  # its reason came with the request
        needs = () if given else (*rule.inputs,)
        if refused is None:
            warning = soft_warning(soft) if soft else None
            if soft and Input.REASON not in needs:
                needs = (*needs, Input.REASON)
            result.append(
                ActionState(rule.name, _label(rule, row), True, needs, warning=warning, acting_for=acting_for)
            )
            continue
        who: tuple[Person, ...] = ()
        if refused.role is not None or (rule.who is Who.CHECKER and row.level_rule is not None):
            if refused.role not in known:
                known[refused.role] = tuple(await who_else(uow, row, refused.role))
            who = known[refused.role]
        result.append(
            ActionState(rule.name, _label(rule, row), False, needs, refused.guard, refused.detail, refused.satisfy, who)
        )
    return result


def _gates(
    uow: UnitOfWork, rule: Transition, row: ProcessRow, open_: Sequence[OpenEdge]
) -> tuple[Refusal | None, list[OpenEdge]]:
    """What an open edge forbids of it, and the soft edges that it would go over."""
    if not open_:
        return None, []
    now_is = after(rule, row, Command(rule.name), Acting(uow.actor, (), at=uow.now), now=uow.now)
    return end_refused(row, now_is, open_), soft_in_the_way(row, now_is, open_)


def _offered(row: ProcessRow) -> list[Transition]:
    """Those that start from this state and suit this kind of work, whoever it is that does them."""
    human, automatic = row.kind.attended, row.kind is ProcessKind.AUTOMATIC
    return [
        rule
        for rule in BY_PEOPLE
        if row.state in rule.sources
        and (human or Guard.HUMAN_WORK not in rule.guards)
        and (automatic or Guard.AUTOMATIC not in rule.guards)
        and (row.kind is ProcessKind.WAIT_FOR or Guard.WAITS not in rule.guards)
        and (row.skip_allowed or Guard.SKIP_ALLOWED not in rule.guards)
        and _suits(rule.name, row)
    ]


def _suits(name: Name, row: ProcessRow) -> bool:
    """Whether it is the one of two that are each other's opposites: taking and giving back, asking and confirming."""
    asked = row.skip_requested_by_id is not None
    match name:
        case Name.CLAIM:
            return row.assignee_id is None
        case Name.UNCLAIM:
            return row.assignee_id is not None
        case Name.REQUEST_SKIP:
            return row.skip_second_person and not asked
        case Name.DECLINE_SKIP:
            return asked
        case Name.SKIP:
            return asked or not row.skip_second_person
    return True


def _label(rule: Transition, row: ProcessRow) -> str:
    several = rule.name is Name.APPROVE and row.levels > 1
    return f"{rule.label} level {row.level}" if several else rule.label


async def _judged(
    uow: UnitOfWork, rule: Transition, row: ProcessRow, content: Content | None, found: Sequence[Requirement]
) -> tuple[Refusal | None, str | None]:
    """Why not; or else for whom."""
    action = f"transition:{rule.name}"
    ways = ways_to_act(uow, row, action)
    if not ways:
        error = refusal(uow.resources.policy, uow.registry, uow.actor, action, "process_run")
        return Refusal(Guard.PERMISSION, error.detail, role=_role(rule, row), forbidden=True), None
    passed, refused = await open_to(uow, rule, row, Command(rule.name), ways)
    if not passed:
        return refused, None
    if content is None or not rule.content:
        return None, passed[0].principal(row)
    # A comment is written in the dialog of the action itself.
    unmet = [item for item in found if not item.met and not (item.guard == Guard.COMMENT and rule.name is Name.SUBMIT)]
    if unmet:
        return _unmet(unmet), None
    if rule.name is not Name.APPROVE:
        return None, passed[0].principal(row)
    signature = digest(content, row, row.comment)
    verdicts = [(check_signing(row, content, signature, way.acting), way) for way in passed]
    allowed = next((way for verdict, way in verdicts if verdict is None), None)
    return (verdicts[0][0], None) if allowed is None else (None, allowed.principal(row))


def _unmet(unmet: Sequence[Requirement]) -> Refusal:
    satisfy = " ".join(item.satisfy for item in unmet)
    count = "One thing is missing." if len(unmet) == 1 else f"{len(unmet)} things are missing."
    return Refusal(unmet[0].guard, f"{count} {satisfy}", satisfy)


def _role(rule: Transition, row: ProcessRow) -> str | None:
    return row.checker_role if rule.name in (Name.APPROVE, Name.REJECT) else None
