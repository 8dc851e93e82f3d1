"""What people are told about, who is told, and in which words: the rules that come with the product, as one table.

Each becomes a row of `notification_rule` that administrators may tune; see `rule_book`.
"""

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
    RUN_MISSING = "run_missing"
    DOUBTED = "doubted"
    BASIS_OPENED = "basis_opened"
    REOPENING = "reopening"


class Event(StrEnum):
    """What else a rule may be about, beside `Rule`: records of any entity, jobs, and messages themselves."""

    RECORD_NOTICE = "record_notice"
    RECORD_CREATED = "record_created"
    RECORD_CHANGED = "record_changed"
    RECORD_STEP = "record_step"
    RECORD_EVENT = "record_event"
    JOB_FAILED = "job_failed"
    DELIVERY_FAILED = "delivery_failed"


class Channel(StrEnum):
    """How a message reaches a person; endpoints of teams are named by rules."""

    IN_APP = "in_app"
    EMAIL = "email"
    CHAT = "chat"

    @property
    def label(self) -> str:
        return {"in_app": "In the product", "email": "E-mail", "chat": "Chat or SMS"}[self.value]


class Kind(StrEnum):
    """How a notification is filed, and by what people choose their channels; the values of its field."""

    ASSIGNMENT = "assignment"
    WARNING = "warning"
    BREACH = "breach"
    REJECTION = "rejection"
    APPROVAL = "approval"
    FAILURE = "failure"
    SYSTEM = "system"

    @property
    def label(self) -> str:
        return KIND_LABELS[self]


KIND_LABELS: Mapping[Kind, str] = MappingProxyType({
    Kind.ASSIGNMENT: "Work for you",
    Kind.WARNING: "Due soon and warnings",
    Kind.BREACH: "Late",
    Kind.REJECTION: "Rejected",
    Kind.APPROVAL: "Approved",
    Kind.FAILURE: "Failures",
    Kind.SYSTEM: "Records, queries and messages",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Telling:
    """Who is told, and how.

    `waiting`: whom the work waits for: the holders of the role of the open approval level, else the assignee, else the
    holders of the owner role. `makers`: whose work it is about. `lead`: the holders of the lead role. `named`: those of
    the roles that the notice itself names. Role holders count where their grant covers the application and the node of
    the process. `human`: only for work that people do.
    `actor`: whoever caused it is told too.

    `head` stands before the label of one process, `many` after the number of several. `sentence` begins the text, with
    `{actor}` as a name; the reason of the process follows it where `reason` is set. `due` stands before the deadline.
    """

    kind: Kind
    head: str
    many: str
    waiting: bool = False
    makers: bool = False
    lead: bool = False
    named: bool = False
    human: bool = False
    actor: bool = True
    sentence: str | None = None
    reason: bool = False
    due: str | None = "Due"


# Work that waits for an approval is told in these words to those who may give it, whatever brought it to them.
REVIEW_HEAD, REVIEW_MANY = "Waits for your approval", "processes wait for your approval"

TELLINGS: Mapping[Rule, Telling] = MappingProxyType({
    Rule.RELEASED: Telling(
        Kind.ASSIGNMENT, "Ready for you", "processes are ready for you", waiting=True, human=True,
    ),
    Rule.REVIEW: Telling(Kind.ASSIGNMENT, REVIEW_HEAD, REVIEW_MANY, waiting=True),
    Rule.ASSIGNED: Telling(
        Kind.ASSIGNMENT, "Assigned to you", "processes were assigned to you", waiting=True, actor=False,
        sentence="{actor} assigned it to you",
    ),
    Rule.WARNING: Telling(Kind.WARNING, "Due soon", "processes are due soon", waiting=True),
    Rule.BREACH: Telling(Kind.BREACH, "Late", "processes are late", waiting=True, lead=True, due="It was due"),
    Rule.REJECTED: Telling(
        Kind.REJECTION, "Rejected", "processes were rejected", waiting=True, makers=True, actor=False,
        sentence="{actor} rejected it", reason=True,
    ),
    Rule.APPROVED: Telling(
        Kind.APPROVAL, "Approved", "processes were approved", makers=True, actor=False,
        sentence="{actor} approved it; it is complete", due=None,
    ),
    Rule.FAILED: Telling(
        Kind.FAILURE, "Failed", "processes have failed", waiting=True, lead=True, sentence="Its job has failed",
        reason=True,
    ),
    Rule.RUN_MISSING: Telling(
        Kind.WARNING, "Waits for a run that does not exist", "processes wait for runs that do not exist", waiting=True,
        lead=True,
    ),
    Rule.DOUBTED: Telling(
        Kind.WARNING, "In doubt", "processes are in doubt", makers=True, human=True, actor=False, due=None,
    ),
    Rule.BASIS_OPENED: Telling(
        Kind.WARNING, "What you build on has changed", "processes build on what has changed", waiting=True, makers=True,
        human=True, actor=False,
    ),
    Rule.REOPENING: Telling(
        Kind.ASSIGNMENT, "Asks for your confirmation", "processes are to be opened again", named=True, actor=False,
        due=None,
    ),
})  # fmt: skip
