"""What becomes of occurrences that are due: created, or omitted for a stated reason. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from app.domain.schedules.recurrence import Occurrence


class CatchUp(StrEnum):
    """What is created of what was missed."""

    ALL = "all"
    LATEST = "latest"
    NONE = "none"


class Cause(StrEnum):
    """Why an occurrence has no run."""

    MOVED_ONTO_ANOTHER = "moved_onto_another"
    MISSED = "missed"
    SUPERSEDED = "superseded"
    WORKFLOW_INACTIVE = "workflow_inactive"
    NOT_PUBLISHED = "not_published"
    NOT_POSSIBLE = "not_possible"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`cause` None: a run is created."""

    occurrence: Occurrence
    cause: Cause | None = None
    late: timedelta = timedelta(0)


def judge(
    due: Sequence[Occurrence], *, now: datetime, catch_up: CatchUp, grace: timedelta, obstacle: Cause | None = None
) -> list[Verdict]:
    """Decide about occurrences that are due at `now`, in order of their instants.

    One that is later than `grace` was missed. `obstacle` is what keeps the workflow from running at all.
    """
    real = [found for found in due if found.taken_by is None]
    latest = real[-1] if real else None
    verdicts = []
    for found in due:
        late = now - found.due_at
        missed = late > grace
        if found.taken_by is not None:
            cause: Cause | None = Cause.MOVED_ONTO_ANOTHER
        elif obstacle is not None:
            cause = obstacle
        elif missed and catch_up is CatchUp.NONE:
            cause = Cause.MISSED
        elif missed and catch_up is CatchUp.LATEST and found is not latest:
            cause = Cause.SUPERSEDED
        else:
            cause = None
        verdicts.append(Verdict(found, cause, late))
    return verdicts


def portion(verdicts: Sequence[Verdict], *, most: int) -> Sequence[Verdict]:
    """The first of them, up to the first that is created and at most about `most`; equal instants stay together."""
    end = 0
    for end, verdict in enumerate(verdicts, start=1):
        if verdict.cause is None or end >= most:
            break
    while 0 < end < len(verdicts) and verdicts[end].occurrence.due_at == verdicts[end - 1].occurrence.due_at:
        end += 1
    return verdicts[:end]
