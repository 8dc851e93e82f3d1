"""The states of a process run and THE table of transitions between them.

planned           its predecessors have closed, but it may not start before `earliest_start`
blocked           at least one hard predecessor has not closed in a way that its dependency accepts
ready             may begin; waits for somebody of the owner role to take it, or for a worker
assigned          somebody has taken it or was given it, and has not begun
in_progress       being worked on; also where a rejection sends it back to, one round later
submitted         handed in and not yet under review; work with approval levels goes on to in_review at once
in_review         waits for the decision of approval level `level` of `levels`, which may need several signatures
done              closed with success; releases what depends on it
on_hold           stopped by a person until `review_by`; `state_before_hold` is where it returns to
waiting_external  waits for something outside itself: a file, an event or a time, or, for automatic work that is done,
                  for the processes without which it may not be completed
failed            automatic work that has used up its attempts; somebody of operations retries or skips it
rejected          a decision against it that nobody may rework
skipped           closed without being done, with a reason; releases only what accepts that
cancelled         closed because it is not wanted any more; releases only what accepts that
stale             was done, and something it builds on has been reopened since
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class ProcessState(StrEnum):
    PLANNED = "planned"
    BLOCKED = "blocked"
    READY = "ready"
    ASSIGNED = "assigned"
    IN_PROGRESS = "in_progress"
    SUBMITTED = "submitted"
    IN_REVIEW = "in_review"
    DONE = "done"
    ON_HOLD = "on_hold"
    WAITING_EXTERNAL = "waiting_external"
    FAILED = "failed"
    REJECTED = "rejected"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    STALE = "stale"

    @property
    def label(self) -> str:
        return self.value.replace("_", " ").capitalize()

    @property
    def closed(self) -> bool:
        return self in CLOSED


class RunState(StrEnum):
    ACTIVE = "active"
    ON_HOLD = "on_hold"
    DONE = "done"
    CANCELLED = "cancelled"


class ProcessKind(StrEnum):
    """How it is done.

    manual and checklist are done by the owner role; approval is decided on; automatic is done by a worker; sign_off is
    an approval that signs all that stands behind it; wait_for is over when a file, an event or a time has come.
    """

    MANUAL = "manual"
    APPROVAL = "approval"
    AUTOMATIC = "automatic"
    CHECKLIST = "checklist"
    SIGN_OFF = "sign_off"
    WAIT_FOR = "wait_for"

    @property
    def label(self) -> str:
        return self.value.replace("_", "-" if self is ProcessKind.SIGN_OFF else " ").capitalize()

    @property
    def decided(self) -> bool:
        """Whether it is decided on as it stands, with nothing of its own to prepare; `DECIDED` is the same in SQL."""
        return self in (ProcessKind.APPROVAL, ProcessKind.SIGN_OFF)

    @property
    def attended(self) -> bool:
        """Whether people do it, rather than a worker or the world outside."""
        return self not in (ProcessKind.AUTOMATIC, ProcessKind.WAIT_FOR)


DECIDED = "IN ('approval', 'sign_off')"


class Name(StrEnum):
    """The transitions, by the names that permissions, history and the API use."""

    RELEASE = "release"
    CLAIM = "claim"
    UNCLAIM = "unclaim"
    ASSIGN = "assign"
    START = "start"
    SUBMIT = "submit"
    APPROVE = "approve"
    REJECT = "reject"
    HOLD = "hold"
    RESUME = "resume"
    REQUEST_SKIP = "request_skip"
    DECLINE_SKIP = "decline_skip"
    SKIP = "skip"
    CANCEL = "cancel"
    RETRY = "retry"
    BEGIN = "begin"
    FINISH = "finish"
    FAIL = "fail"
    ARRIVED = "arrived"
    BLOCK = "block"
    REOPEN = "reopen"
    STALE = "stale"
    REVALIDATE = "revalidate"
    REDO = "redo"
    MIGRATE = "migrate"


class Who(StrEnum):
    OWNER = "owner"  # somebody of the owner role, in scope; once it is assigned, the assignee
    CHECKER = "checker"  # somebody of the role of the open approval level, in scope
    LEAD = "lead"  # anybody whom the policy allows the transition, in scope
    ENGINE = "engine"  # the platform itself


class Input(StrEnum):
    REASON = "reason"
    REVIEW_BY = "review_by"
    ASSIGNEE = "assignee"


class Guard(StrEnum):
    """The rules that can refuse a transition."""

    STATE = "state"
    RUN_IS_ACTIVE = "run_is_active"
    OWNER_ROLE = "owner_role"
    ASSIGNEE = "assignee"
    CHECKER_ROLE = "checker_role"
    LEAD_SCOPE = "lead_scope"
    ENGINE = "engine"
    PERMISSION = "permission"
    MAKER_IS_NOT_CHECKER = "maker_is_not_checker"
    NOT_THE_MAKERS_DELEGATE = "not_the_makers_delegate"
    CANDIDATE = "candidate"
    NOT_TAKEN = "not_taken"
    TAKEN = "taken"
    DUTY_RULE = "duty_rule"
    SECOND_PERSON = "second_person"
    SKIP_REQUESTED = "skip_requested"
    SKIP_NOT_REQUESTED = "skip_not_requested"
    ONE_LEVEL_EACH = "one_level_each"
    SKIP_ALLOWED = "skip_allowed"
    NOT_RUNNING = "not_running"
    HUMAN_WORK = "human_work"
    AUTOMATIC = "automatic"
    UNATTENDED = "unattended"
    WAITS = "waits"
    ASSIGNEE_MAY_DO_IT = "assignee_may_do_it"
    COMMENT = "comment"
    CHECKLIST = "checklist"
    QUESTION = "question"
    EVIDENCE = "evidence"
    CONTENT_UNCHANGED = "content_unchanged"
    FINISH_GATE = "finish_gate"
    SOFT_DEPENDENCY = "soft_dependency"
    OPEN_QUERY = "open_query"


CLOSED = frozenset({ProcessState.DONE, ProcessState.SKIPPED, ProcessState.CANCELLED})
OPEN = frozenset(ProcessState) - CLOSED
RESTING = frozenset({ProcessState.BLOCKED, ProcessState.PLANNED})  # nobody can work on it yet

_S = ProcessState
_WORKABLE = frozenset({_S.READY, _S.ASSIGNED, _S.IN_PROGRESS})


@dataclass(frozen=True, slots=True)
class Transition:
    """`to` None: where it leads depends on the process, see `outcomes.after`."""

    name: Name
    label: str
    sources: frozenset[ProcessState]
    to: ProcessState | None
    who: Who
    guards: tuple[Guard, ...] = ()
    inputs: tuple[Input, ...] = ()
    content: bool = False  # what was prepared is read, checked and hashed


_TABLE = (
    Transition(Name.RELEASE, "Release", RESTING, None, Who.ENGINE),
    # What was begun and given back goes on where it was.
    Transition(
        Name.CLAIM, "Take", frozenset({_S.READY, _S.IN_PROGRESS}), None, Who.OWNER, (Guard.HUMAN_WORK, Guard.NOT_TAKEN)
    ),
    # To ready, or while it is in progress to nobody.
    Transition(
        Name.UNCLAIM, "Give back", frozenset({_S.ASSIGNED, _S.IN_PROGRESS}), None, Who.OWNER,
        (Guard.HUMAN_WORK, Guard.TAKEN),
    ),
    Transition(
        Name.ASSIGN, "Assign", _WORKABLE, None, Who.LEAD, (Guard.HUMAN_WORK, Guard.ASSIGNEE_MAY_DO_IT),
        (Input.ASSIGNEE,),
    ),
    Transition(
        Name.START, "Start", frozenset({_S.READY, _S.ASSIGNED}), _S.IN_PROGRESS, Who.OWNER, (Guard.HUMAN_WORK,)
    ),
    # To in_review where it has approval levels, else to done.
    Transition(Name.SUBMIT, "Submit", _WORKABLE, None, Who.OWNER, (Guard.HUMAN_WORK, Guard.OPEN_QUERY), content=True),
    # Once the level has its signatures to the next one, after the last one to done.
    Transition(
        Name.APPROVE, "Approve", frozenset({_S.IN_REVIEW}), None, Who.CHECKER,
        (Guard.MAKER_IS_NOT_CHECKER, Guard.NOT_THE_MAKERS_DELEGATE, Guard.ONE_LEVEL_EACH, Guard.OPEN_QUERY),
        content=True,
    ),
    # Back to whoever submitted it, or to an earlier level, one round later.
    Transition(
        Name.REJECT, "Reject", frozenset({_S.IN_REVIEW}), None, Who.CHECKER,
        (Guard.MAKER_IS_NOT_CHECKER, Guard.NOT_THE_MAKERS_DELEGATE), (Input.REASON,),
    ),
    Transition(
        Name.HOLD, "Hold", _WORKABLE | RESTING | {_S.IN_REVIEW, _S.FAILED}, _S.ON_HOLD, Who.LEAD, (Guard.NOT_RUNNING,),
        (Input.REASON, Input.REVIEW_BY),
    ),
    # To the state before the hold, or on from there where its predecessors have closed meanwhile.
    Transition(Name.RESUME, "Resume", frozenset({_S.ON_HOLD}), None, Who.LEAD),
    # Where the definition asks for a second person, one asks and another confirms; the state stays until then.
    Transition(
        Name.REQUEST_SKIP, "Ask to skip", OPEN, None, Who.LEAD,
        (Guard.SKIP_ALLOWED, Guard.SKIP_NOT_REQUESTED, Guard.NOT_RUNNING), (Input.REASON,),
    ),
    Transition(
        Name.DECLINE_SKIP, "Do not skip", OPEN, None, Who.LEAD, (Guard.SKIP_REQUESTED,), (Input.REASON,)
    ),
    Transition(
        Name.SKIP, "Skip", OPEN, _S.SKIPPED, Who.LEAD, (Guard.SKIP_ALLOWED, Guard.SECOND_PERSON, Guard.NOT_RUNNING),
        (Input.REASON,),
    ),
    Transition(Name.CANCEL, "Cancel", OPEN, _S.CANCELLED, Who.LEAD, (), (Input.REASON,)),
    Transition(Name.RETRY, "Retry", frozenset({_S.FAILED}), _S.READY, Who.LEAD, (Guard.AUTOMATIC,)),
    # From in_progress as well: the worker of the attempt before was lost.
    Transition(
        Name.BEGIN, "Begin", frozenset({_S.READY, _S.FAILED, _S.IN_PROGRESS}), _S.IN_PROGRESS, Who.ENGINE,
        (Guard.AUTOMATIC,),
    ),
    # To waiting_external while a predecessor without which it may not be completed is open, and to done from there.
    Transition(
        Name.FINISH, "Finish", frozenset({_S.IN_PROGRESS, _S.WAITING_EXTERNAL}), None, Who.ENGINE, (Guard.UNATTENDED,)
    ),
    # What it waits for has come another way, as a person says who answers for it.
    Transition(
        Name.ARRIVED, "Has arrived", frozenset({_S.WAITING_EXTERNAL}), _S.DONE, Who.LEAD,
        (Guard.WAITS, Guard.OPEN_QUERY), (Input.REASON,),
    ),
    Transition(
        Name.FAIL, "Fail", frozenset({_S.READY, _S.IN_PROGRESS}), _S.FAILED, Who.ENGINE, (Guard.AUTOMATIC,),
        (Input.REASON,),
    ),
    # To another version of the workflow, with its run: see `migrating`. Not a step that can be asked for by itself.
    Transition(Name.MIGRATE, "Migrate", frozenset(), None, Who.ENGINE),
    # Opened again after it had ended, see `reopening`; what has been built on it is stale until that has ended again.
    Transition(Name.REOPEN, "Open again", frozenset({_S.DONE, _S.SKIPPED}), None, Who.ENGINE),
    Transition(Name.STALE, "Doubt", frozenset(), _S.STALE, Who.ENGINE),
    # Back to where it was where nothing that it builds on has changed, or to its beginning where something has.
    Transition(Name.REVALIDATE, "Revalidate", frozenset({_S.STALE}), None, Who.ENGINE),
    Transition(Name.REDO, "Begin again", frozenset({_S.STALE}), None, Who.ENGINE),
    # What had not begun waits again: work was added before it, see `ad_hoc`. Not a step to be asked for either.
    Transition(Name.BLOCK, "Block", frozenset(), _S.BLOCKED, Who.ENGINE),
)  # fmt: skip

TRANSITIONS: Mapping[Name, Transition] = MappingProxyType({transition.name: transition for transition in _TABLE})
BY_PEOPLE: tuple[Transition, ...] = tuple(t for t in _TABLE if t.who is not Who.ENGINE)
