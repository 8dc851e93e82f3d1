"""When wrong passwords pause sign-in, and for how long. Pure rules; times are real, never the demo's."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

FREE_FAILURES = 5
FIRST_PAUSE = timedelta(minutes=1)
LONGEST_PAUSE = timedelta(hours=1)
FORGIVEN_AFTER = timedelta(hours=24)

# An administrator's lock has no end. It is stored as this instant, which no pause can reach.
LOCKED_FOR_GOOD = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class FailureRecord:
    """Failed sign-ins of one name since the last success, and until when sign-in is paused."""

    failures: int = 0
    locked_until: datetime | None = None

    def is_paused(self, *, now: datetime) -> bool:
        return self.locked_until is not None and self.locked_until > now


def after_failure(record: FailureRecord, *, now: datetime) -> FailureRecord:
    """Count one failure. From the fifth on each one pauses sign-in, twice as long as the one before, up to an hour.

    Failures are forgiven a day after the last pause ended.
    """
    before = record.failures
    if record.locked_until is not None and now - record.locked_until >= FORGIVEN_AFTER:
        before = 0
    failures = before + 1
    if failures < FREE_FAILURES:
        return FailureRecord(failures, record.locked_until if before else None)
    doublings = min(failures - FREE_FAILURES, 10)
    return FailureRecord(failures, now + min(FIRST_PAUSE * 2**doublings, LONGEST_PAUSE))
