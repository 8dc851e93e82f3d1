"""May this transition happen, and if not, by which rule: pure, and shared by commands and pages."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

from app.domain.workflow.acting import Acting, Command
from app.domain.workflow.process_row import ProcessRow
from app.domain.workflow.states import TRANSITIONS, Guard, Name, ProcessKind, ProcessState, RunState, Transition, Who


@dataclass(frozen=True, slots=True)
class Refusal:
    """`role`: who has it could do it instead. `forbidden`: it is a matter of rights, not of the moment."""

    guard: str  # a `Guard`, or the name that another feature has given to one of its own
    detail: str
    satisfy: str = ""
    role: str | None = None
    forbidden: bool = False


def check(transition: Transition, row: ProcessRow, command: Command, acting: Acting) -> Refusal | None:
    """The first rule that refuses, in the order in which a person would ask; None when it may happen."""
    return (
        _check_engine(transition, row, acting)
        or _check_state(transition, row)
        or _check_run(transition, row)
        or _WHO[transition.who](row, acting)
        or next((r for r in (_GUARDS[g](row, command, acting) for g in transition.guards) if r is not None), None)
    )


def check_preparing(row: ProcessRow, acting: Acting) -> Refusal | None:
    """Whether the actor may change what is prepared: comment, checklist, evidence."""
    submit = TRANSITIONS[Name.SUBMIT]
    return _check_state(submit, row) or _check_run(submit, row) or _check_owner(row, acting)


# -- who ---------------------------------------------------------------------------------------------------------------


def _check_engine(transition: Transition, row: ProcessRow, acting: Acting) -> Refusal | None:
    if transition.who is Who.ENGINE and not acting.actor.is_system:
        detail = f"“{transition.label}” is done by the platform itself, not by a person."
        return Refusal(Guard.ENGINE, detail, forbidden=True)
    return None


def _check_state(transition: Transition, row: ProcessRow) -> Refusal | None:
    if row.state in transition.sources:
        return None
    possible = " or ".join(s.label for s in ProcessState if s in transition.sources)
    detail = f"“{row.label}” is {row.state.label}; {transition.label.lower()} is possible when it is {possible}."
    satisfy = {
        ProcessState.BLOCKED: "Its predecessors must close first.",
        ProcessState.PLANNED: "Its earliest start must be reached first.",
        ProcessState.ON_HOLD: "Resume it first.",
        ProcessState.FAILED: "Retry or skip it first.",
    }.get(row.state, "")
    return Refusal(Guard.STATE, detail, satisfy)


def _check_run(transition: Transition, row: ProcessRow) -> Refusal | None:
    if row.run_state is RunState.ACTIVE:
        return None
    if row.run_state is RunState.ON_HOLD and transition.name in (Name.FINISH, Name.FAIL, Name.CANCEL, Name.RELEASE):
        return None  # what was on its way when the run was held may arrive
    if row.run_state is RunState.DONE and transition.name is Name.REOPEN:
        return None  # a finished run is opened again by this very step
    words = row.run_state.value.replace("_", " ")
    satisfy = "Resume the run first." if row.run_state is RunState.ON_HOLD else ""
    return Refusal(Guard.RUN_IS_ACTIVE, f"The run {row.run_reference} is {words}.", satisfy)


def _check_owner(row: ProcessRow, acting: Acting) -> Refusal | None:
    role = row.owner_role
    if acting.actor.is_system or acting.grant_for(row, role) is None:
        name = f"the role {role}" if role else "a role"
        detail = f"“{row.label}” is work of {name} in {row.application}, and none of your grants reaches it there."
        return Refusal(Guard.OWNER_ROLE, detail, "Somebody with the role does it.", role, forbidden=True)
    if not is_candidate(row, acting):
        detail = f"“{row.label}” is for {in_words(row.candidates.names)}, and you are not among them."
        return Refusal(Guard.CANDIDATE, detail, "One of the candidates does it.", role, forbidden=True)
    if row.assignee_id is not None and row.assignee_id not in acting.ids:
        detail = f"“{row.label}” is assigned to somebody else."
        return Refusal(Guard.ASSIGNEE, detail, "The assignee does it, or it is assigned to you.")
    return None


def _check_checker(row: ProcessRow, acting: Acting) -> Refusal | None:
    rule = row.level_rule
    if rule is None or acting.actor.is_system or acting.grant_for(row, rule.role) is None:
        who = rule.who if rule is not None else "nobody"
        detail = f"Level {row.level} of “{row.label}” is decided by {who} in {row.application}, "
        detail += "and none of your grants reaches it there."
        return Refusal(Guard.CHECKER_ROLE, detail, "Somebody with the role decides.", row.checker_role, forbidden=True)
    if rule.group_id is not None and rule.group_id not in acting.groups:
        detail = f"Level {row.level} of “{row.label}” is decided by {rule.who}, and you are not a member."
        return Refusal(Guard.CHECKER_ROLE, detail, "A member decides.", row.checker_role, forbidden=True)
    return None


def is_candidate(row: ProcessRow, acting: Acting) -> bool:
    """Whether the person whose rights are used is among the candidates, where there are any."""
    named = row.candidates
    return not named.named or acting.authority_id in named.users or bool(named.groups & acting.groups)


def in_words(names: Sequence[str]) -> str:
    """`Elena Rossi, Tomasz Nowak or FX controllers`"""
    return " or ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def _check_lead(row: ProcessRow, acting: Acting) -> Refusal | None:
    if acting.actor.is_system or acting.grant_for(row) is not None:
        return None
    detail = f"“{row.label}” is outside the part of {row.application} that your grants reach."
    return Refusal(Guard.LEAD_SCOPE, detail, "Somebody whose grant covers its node does it.", forbidden=True)


def _check_nothing(row: ProcessRow, acting: Acting) -> Refusal | None:
    return None


# -- guards ------------------------------------------------------------------------------------------------------------


def _human_work(row: ProcessRow, command: Command, acting: Acting) -> Refusal | None:
    if row.kind.attended:
        return None
    if row.kind is ProcessKind.WAIT_FOR:
        return Refusal(Guard.HUMAN_WORK, f"“{row.label}” waits: nobody works on it.", "It is over when that has come.")
    return Refusal(Guard.HUMAN_WORK, f"“{row.label}” is done by a worker.", "It can be held, skipped or retried.")


def _open_query(row: ProcessRow, command: Command, acting: Acting) -> Refusal | None:
    if row.blocking_queries <= 0:
        return None
    return Refusal(Guard.OPEN_QUERY, queries_in_words(row), "They are answered first.")


def queries_in_words(row: ProcessRow) -> str:
    """`2 open queries block this: “Late trades”, “Which curve?”.`"""
    count, subjects = row.blocking_queries, row.blocking_subjects
    what = "An open query blocks this" if count == 1 else f"{count} open queries block this"
    more = f" and {count - 3} more" if count > 3 else ""
    named = ", ".join(f"“{subject}”" for subject in subjects[:3])
    return f"{what}: {named}{more}." if named else f"{what}."


def _automatic(row: ProcessRow, command: Command, acting: Acting) -> Refusal | None:
    if row.kind is ProcessKind.AUTOMATIC:
        return None
    return Refusal(Guard.AUTOMATIC, f"“{row.label}” is done by people, so there is no job to run.")


def _unattended(row: ProcessRow, command: Command, acting: Acting) -> Refusal | None:
    if not row.kind.attended:
        return None
    return Refusal(Guard.UNATTENDED, f"“{row.label}” is done by people, who hand it in.")


def _waits(row: ProcessRow, command: Command, acting: Acting) -> Refusal | None:
    if row.kind is ProcessKind.WAIT_FOR:
        return None
    return Refusal(Guard.WAITS, f"“{row.label}” waits for nothing that could arrive.")


def _maker_is_not_checker(row: ProcessRow, command: Command, acting: Acting) -> Refusal | None:
    if not set(acting.ids) & set(row.makers):
        return None
    return made_it(row, acting)


def made_it(row: ProcessRow, acting: Acting) -> Refusal:
    """They made it themselves, or it was made by the authority that they use, or they were the authority."""
    whose = "You" if acting.actor.id in row.makers else "The person you stand in for"
    detail = f"{whose} prepared what “{row.label}” decides on in round {row.round}. Rule: maker is not checker."
    return Refusal(Guard.MAKER_IS_NOT_CHECKER, detail, "Somebody who had no part in it decides.", row.checker_role)


def _not_the_makers_delegate(row: ProcessRow, command: Command, acting: Acting) -> Refusal | None:
    return stands_in_for_maker(row, acting, row.makers, row.submitted_at)


def stands_in_for_maker(
    row: ProcessRow, acting: Acting, makers: Collection[UUID], since: datetime | None
) -> Refusal | None:
    """Whoever could act for a maker at any moment since the submission does not check that maker's work."""
    standing = acting.standing_for(makers, row, since)
    if standing is None:
        return None
    mine = standing.delegate == acting.actor.id
    who, verb = ("You", "stand") if mine else ("The person you stand in for", "stands")
    when = f"{verb} in for {standing.name}"
    if acting.at is not None and standing.until <= acting.at:
        when = f"stood in for {standing.name}"
    detail = (
        f"{who} {when}, who prepared what “{row.label}” decides on. "
        "Rule: maker is not checker, and neither is a delegate of the maker."
    )
    return Refusal(
        Guard.NOT_THE_MAKERS_DELEGATE, detail, "Somebody who does not stand in for a maker decides.", row.checker_role
    )


def _one_level_each(row: ProcessRow, command: Command, acting: Acting) -> Refusal | None:
    if not set(acting.ids) & set(row.signers):
        return None
    detail = f"You have signed “{row.label}” in this round already, at this level or a lower one. Rule: one level each."
    return Refusal(Guard.ONE_LEVEL_EACH, detail, "Somebody else decides this level.", row.checker_role)


def _skip_allowed(row: ProcessRow, command: Command, acting: Acting) -> Refusal | None:
    if row.skip_allowed:
        return None
    detail = f"“{row.label}” may not be skipped: its definition does not allow it."
    return Refusal(Guard.SKIP_ALLOWED, detail, "Do it, or cancel it with what depends on it.")


def _second_person(row: ProcessRow, command: Command, acting: Acting) -> Refusal | None:
    if not row.skip_second_person:
        return None
    asked_by = row.skip_requested_by_id
    if asked_by is None:
        detail = f"“{row.label}” is skipped by two people: one asks for it, another confirms. Nobody has asked yet."
        return Refusal(Guard.SECOND_PERSON, detail, "Ask for it first.")
    asked = {asked_by, row.skip_requested_for_id or asked_by}
    if not asked & set(acting.ids) and acting.standing_for(asked, row, None) is None:
        return None
    detail = f"You asked for “{row.label}” to be skipped, or stand in for who did. Rule: a second person confirms."
    return Refusal(Guard.SECOND_PERSON, detail, "Somebody else confirms it or declines it.")


def _skip_requested(row: ProcessRow, command: Command, acting: Acting) -> Refusal | None:
    if row.skip_requested_by_id is not None:
        return None
    return Refusal(Guard.SKIP_REQUESTED, f"Nobody has asked for “{row.label}” to be skipped.")


def _skip_not_requested(row: ProcessRow, command: Command, acting: Acting) -> Refusal | None:
    if not row.skip_second_person:
        detail = f"“{row.label}” is skipped without a second person."
        return Refusal(Guard.SKIP_NOT_REQUESTED, detail, "Skip it.")
    if row.skip_requested_by_id is None:
        return None
    detail = f"Somebody has asked for “{row.label}” to be skipped already."
    return Refusal(Guard.SKIP_NOT_REQUESTED, detail, "Somebody else confirms it or declines it.")


def _not_taken(row: ProcessRow, command: Command, acting: Acting) -> Refusal | None:
    if row.assignee_id is None:
        return None
    return Refusal(Guard.NOT_TAKEN, f"“{row.label}” is assigned already.", "It is given back, or assigned anew.")


def _taken(row: ProcessRow, command: Command, acting: Acting) -> Refusal | None:
    if row.assignee_id is not None:
        return None
    return Refusal(Guard.TAKEN, f"“{row.label}” is assigned to nobody, so there is nothing to give back.")


def _not_running(row: ProcessRow, command: Command, acting: Acting) -> Refusal | None:
    if row.kind is not ProcessKind.AUTOMATIC or row.state is not ProcessState.IN_PROGRESS:
        return None
    return Refusal(Guard.NOT_RUNNING, f"A worker is at “{row.label}” right now.", "Wait for the job, or cancel it.")


def _assignee_may_do_it(row: ProcessRow, command: Command, acting: Acting) -> Refusal | None:
    if command.assignee_may or command.assignee_id is None:
        return None
    among = " or is not among its candidates" if row.candidates.named else ""
    detail = f"That user does not have the role {row.owner_role} for “{row.label}”{among}."
    return Refusal(Guard.ASSIGNEE_MAY_DO_IT, detail, "Choose somebody with the role.", row.owner_role)


_WHO: Mapping[Who, Callable[[ProcessRow, Acting], Refusal | None]] = MappingProxyType(
    {Who.OWNER: _check_owner, Who.CHECKER: _check_checker, Who.LEAD: _check_lead, Who.ENGINE: _check_nothing}
)
_GUARDS: Mapping[Guard, Callable[[ProcessRow, Command, Acting], Refusal | None]] = MappingProxyType(
    {
        Guard.HUMAN_WORK: _human_work,
        Guard.OPEN_QUERY: _open_query,
        Guard.AUTOMATIC: _automatic,
        Guard.UNATTENDED: _unattended,
        Guard.WAITS: _waits,
        Guard.MAKER_IS_NOT_CHECKER: _maker_is_not_checker,
        Guard.NOT_THE_MAKERS_DELEGATE: _not_the_makers_delegate,
        Guard.ONE_LEVEL_EACH: _one_level_each,
        Guard.NOT_TAKEN: _not_taken,
        Guard.TAKEN: _taken,
        Guard.SECOND_PERSON: _second_person,
        Guard.SKIP_REQUESTED: _skip_requested,
        Guard.SKIP_NOT_REQUESTED: _skip_not_requested,
        Guard.SKIP_ALLOWED: _skip_allowed,
        Guard.NOT_RUNNING: _not_running,
        Guard.ASSIGNEE_MAY_DO_IT: _assignee_may_do_it,
    }
)
