"""What happens to job runs, for the features above."""

from dataclasses import dataclass
from uuid import UUID

from app.core.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailed(Event):
    """Every attempt is used up."""

    job_run_id: UUID
    process_run_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRetried(Event):
    """An operator has sent a failed or aborted job off again."""

    job_run_id: UUID
    process_run_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobWasAborted(Event):
    """An operator has called a job off."""

    job_run_id: UUID
    process_run_id: UUID | None
    reason: str
