"""What people are told about, and who: one table."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

LEAD_ROLE = "operations"  # told when work is late or has failed, and about work that has no owner role


class Rule(StrEnum):
    """What has happened to a process."""

    RELEASED = "released"
    REVIEW = "review"
    ASSIGNED = "assigned"
    WARNING = "warning"
    BREACH = "breach"
    REJECTED = "rejected"
    APPROVED = "approved"
    FAILED = "failed"


class Kind(StrEnum):
    """How a notification is filed; the values of its field."""

    ASSIGNMENT = "assignment"
    WARNING = "warning"
    BREACH = "breach"
    REJECTION = "rejection"
    APPROVAL = "approval"
    FAILURE = "failure"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class RuleTarget:
    """Who is told.

    `waiting`: whom the work waits for: the holders of the role of the open approval level, else the assignee, else the
    holders of the owner role. `makers`: whose work it is about. `lead`: the holders of the lead role. Role holders
    count where their grant covers the application and the node of the process. `human`: only for work that people do.
    `actor`: whoever caused it is told too.
    """

    kind: Kind
    waiting: bool = False
    makers: bool = False
    lead: bool = False
    human: bool = False
    actor: bool = True


TARGETS: Mapping[Rule, RuleTarget] = MappingProxyType({
    Rule.RELEASED: RuleTarget(Kind.ASSIGNMENT, waiting=True, human=True),
    Rule.REVIEW: RuleTarget(Kind.ASSIGNMENT, waiting=True),
    Rule.ASSIGNED: RuleTarget(Kind.ASSIGNMENT, waiting=True, actor=False),
    Rule.WARNING: RuleTarget(Kind.WARNING, waiting=True),
    Rule.BREACH: RuleTarget(Kind.BREACH, waiting=True, lead=True),
    Rule.REJECTED: RuleTarget(Kind.REJECTION, waiting=True, makers=True, actor=False),
    Rule.APPROVED: RuleTarget(Kind.APPROVAL, makers=True, actor=False),
    Rule.FAILED: RuleTarget(Kind.FAILURE, waiting=True, lead=True),
})  # fmt: skip
