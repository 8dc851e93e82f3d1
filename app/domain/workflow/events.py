"""What the workflow engine tells the other features, inside the transaction in which it happened."""

from dataclasses import dataclass
from uuid import UUID

from app.core.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionPublished(Event):
    workflow_id: UUID
    version_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCreated(Event):
    """A run with all of its processes exists; deadlines and clocks are set by whoever owns them."""

    run_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStateChanged(Event):
    """The whole run was put on hold, resumed or cancelled; a cancelled run has cancelled its open processes."""

    run_id: UUID
    from_state: str
    to_state: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """The last open process of the run has closed."""

    run_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMigrated(Event):
    """The run has gone over to another version of its workflow; deadlines and clocks follow the new one.

    `closed`: processes that the new version does not have and that were closed with that.
    """

    run_id: UUID
    version_id: UUID
    closed: tuple[UUID, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessesReleased(Event):
    """Processes that waited may begin now: one event for all that a change has released, in one run.

    `routed`: those of them about which a rule decides.
    """

    run_id: UUID
    process_run_ids: tuple[UUID, ...]
    routed: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStateChanged(Event):
    """A command moved one process. `name` is the transition; an approval of a lower level has equal states."""

    process_run_id: UUID
    run_id: UUID
    from_state: str
    to_state: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitedRunsMissing(Event):
    """Runs of other workflows were expected by now and do not exist; the two are in the same order."""

    awaited_run_ids: tuple[UUID, ...]
    process_run_ids: tuple[UUID, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessAdded(Event):
    """A process that its version does not know was added to a run under way; its clock is to start."""

    run_id: UUID
    process_run_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class ReopeningRequested(Event):
    """Somebody wants finished work to be opened again; a second person is to confirm that."""

    run_id: UUID
    process_run_id: UUID
    reopening_id: UUID
    application: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkDoubted(Event):
    """What work is built on was opened again, or has another result: `stale` was finished, `told` is under way."""

    run_id: UUID
    stale: tuple[UUID, ...]
    told: tuple[UUID, ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedDataChanged(Event):
    """What stands behind a sign-off is not what was signed any more."""

    run_id: UUID
    process_run_id: UUID
