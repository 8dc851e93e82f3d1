"""What can come between a job and its end."""

from datetime import datetime

from app.core.errors import Conflict, StepsError


class LeaseLost(Conflict):
    """Somebody else has taken the job over: what this attempt did must not count."""

    code = "lease_lost"
    title = "Another worker has taken this job over"


class JobAborted(Conflict):
    """A person or the workflow has called the job off while it ran."""

    code = "job_aborted"
    title = "The job was aborted"


class ActionRefused(StepsError):
    """An action says that trying again would not help, for example because its parameters are wrong."""

    code = "action_refused"
    status = 422
    title = "The action cannot be done like this"


class Postponed(Exception):
    """A job cannot run yet; deliver it again at `until` (real time)."""

    def __init__(self, until: datetime) -> None:
        super().__init__(f"not before {until:%H:%M:%S}")
        self.until = until
