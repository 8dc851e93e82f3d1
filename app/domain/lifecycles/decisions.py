"""May this record take this step, and if not, by which rule: pure, and shared by commands, lists and pages."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from app.core.filters import Variables, describe, matches
from app.core.filters.python import Resolve
from app.domain.lifecycles.compiled import CompiledLifecycle
from models.lifecycle import TransitionDef
from models.schema import EntityDef


class Guard(StrEnum):
    """The rules that can refuse a step."""

    STATE = "state"
    ROLE = "role"
    GUARD = "guard"
    RULE = "rule"
    COMMENT = "comment"
    FIELDS = "fields"
    APPROVED_ALREADY = "approved_already"
    NOT_THE_CREATOR = "not_the_creator"
    NOT_THE_LAST_EDITOR = "not_the_last_editor"
    NOT_A_PRIOR_APPROVER = "not_a_prior_approver"


@dataclass(frozen=True, slots=True)
class Refusal:
    """`forbidden`: a matter of rights, not of the moment. `fields`: what is to be filled in."""

    guard: Guard
    detail: str
    satisfy: str = ""
    forbidden: bool = False
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Approval:
    """One person's approval that still counts; `done`: the step it was for has been taken."""

    transition: str
    actor_id: UUID
    actor_name: str
    on_behalf_of: UUID | None
    done: bool

    @property
    def people(self) -> frozenset[UUID]:
        return frozenset(id_ for id_ in (self.actor_id, self.on_behalf_of) if id_ is not None)


@dataclass(slots=True)
class Subject:
    """A record with what is known about it, while steps are decided; `record` changes as they are taken."""

    lifecycle: CompiledLifecycle
    entity: EntityDef
    record: dict[str, Any]
    title: str
    approvals: list[Approval] = field(default_factory=list)
    last_editor: UUID | None = None

    @property
    def state(self) -> str:
        state: str = self.record[self.entity.state_field]
        return state


@dataclass(frozen=True, slots=True)
class Acting:
    """Who asks. `people`: the actor and whose authority they use. `may`: transition -> allowed here, None for all."""

    people: frozenset[UUID]
    is_system: bool
    may: Mapping[str, bool] | None = None

    def allowed(self, transition: TransitionDef) -> bool:
        return self.is_system or self.may is None or self.may.get(transition.name, False)


# Asks the business rule that a step names about a record: None where it allows the step.
AskRule = Callable[[TransitionDef, Subject], Refusal | None]


def no_rules(step: TransitionDef, subject: Subject) -> Refusal | None:
    """Where nobody can be asked, a step that needs an answer is not possible."""
    detail = f"{step.label} is decided by the rule {step.rule}, which cannot be asked here."
    return Refusal(Guard.RULE, detail, "Take the step where rules are there.")


def check(
    step: TransitionDef,
    subject: Subject,
    acting: Acting,
    *,
    variables: Variables,
    resolve: Resolve | None = None,
    comment: str | None = None,
    ask: AskRule = no_rules,
    inputs_follow: bool = False,
) -> Refusal | None:
    """The first rule that refuses, in the order in which a person would ask; None when the step may be taken.

    The platform itself is bound by states, guards and rules; roles, comments and approvals are about people.
    `inputs_follow`: whoever asks can still enter the comment and the fields with the step, so they refuse nothing yet.
    """
    refusal = check_state(step, subject) or (None if acting.allowed(step) else _not_allowed(step, subject))
    refusal = refusal or _guard(step, subject, variables, resolve)
    if refusal is None and not acting.is_system:
        inputs = None if inputs_follow else needs_fields(step, subject) or _comment(step, comment)
        refusal = inputs or _distinct(step, subject, acting)
    if refusal is None and step.rule:
        refusal = ask(step, subject)
    return refusal


def check_state(step: TransitionDef, subject: Subject) -> Refusal | None:
    if subject.state in step.sources:
        return None
    label = subject.lifecycle.label
    possible = " or ".join(f"“{label(source)}”" for source in step.sources)
    detail = f"{subject.title} is “{label(subject.state)}”; {step.label} is possible from {possible}."
    return Refusal(Guard.STATE, detail, f"It must be {possible} first.")


def _not_allowed(step: TransitionDef, subject: Subject) -> Refusal:
    who = f"the role {' or '.join(step.roles)}" if step.roles else "the right to change it"
    detail = f"{step.label} needs {who} where {subject.title} lies, and none of your grants gives you that."
    return Refusal(Guard.ROLE, detail, "Somebody who has it does it.", forbidden=True)


def _guard(step: TransitionDef, subject: Subject, variables: Variables, resolve: Resolve | None) -> Refusal | None:
    node = subject.lifecycle.guards.get(step.name)
    if node is None or matches(node, subject.record, variables, resolve):
        return None
    words = describe(node)
    return Refusal(Guard.GUARD, f"{step.label} is possible only where {words}.", f"See to it that {words}.")


def missing_fields(step: TransitionDef, subject: Subject) -> tuple[str, ...]:
    """The fields that the step requires and the record does not have."""
    return tuple(name for name in step.require_fields if subject.record.get(name) in (None, "", [], ()))


def needs_fields(step: TransitionDef, subject: Subject) -> Refusal | None:
    missing = missing_fields(step, subject)
    if not missing:
        return None
    labels = ", ".join(subject.entity.field(name).label for name in missing)
    return Refusal(Guard.FIELDS, f"{step.label} needs {labels}.", f"Fill in {labels}.", fields=missing)


def _comment(step: TransitionDef, comment: str | None) -> Refusal | None:
    if not step.require_comment or (comment or "").strip():
        return None
    return Refusal(Guard.COMMENT, f"{step.label} needs a comment.", "Say why.", fields=("comment",))


def _distinct(step: TransitionDef, subject: Subject, acting: Acting) -> Refusal | None:
    for approval in subject.approvals:
        if approval.transition == step.name and not approval.done and approval.people & acting.people:
            return Refusal(Guard.APPROVED_ALREADY, "You have approved this already.", "Somebody else approves as well.")
    for rule in step.approvals.distinct_from:
        match rule:
            case "creator" if subject.record.get("created_by") in acting.people:
                return _same(Guard.NOT_THE_CREATOR, subject, "You created", "who creates it must not approve it")
            case "last_editor" if subject.last_editor in acting.people:
                return _same(
                    Guard.NOT_THE_LAST_EDITOR, subject, "You changed", "who changed it last must not approve it"
                )
            case "prior_approver" if any(a.people & acting.people for a in subject.approvals):
                return _same(Guard.NOT_A_PRIOR_APPROVER, subject, "You have approved", "one approval each")
    return None


def _same(guard: Guard, subject: Subject, did: str, rule: str) -> Refusal:
    return Refusal(guard, f"{did} {subject.title}. Rule: {rule}.", "Somebody who had no part in it does it.")


def approvals_for(step: TransitionDef, subject: Subject) -> Sequence[Approval]:
    """The approvals that have been given to the step and are still waiting for more."""
    return [a for a in subject.approvals if a.transition == step.name and not a.done]


def missing_approvals(step: TransitionDef, subject: Subject, acting: Acting) -> int:
    """How many more people it takes once the actor has approved; the platform needs nobody."""
    if acting.is_system:
        return 0
    return max(0, step.approvals.count - len(approvals_for(step, subject)) - 1)
