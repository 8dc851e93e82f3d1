"""How long to wait before trying again."""

from datetime import timedelta

LONGEST = timedelta(hours=1)
OUTBOX_BASE_SECONDS = 2


def backoff(*, base_seconds: int, failures: int) -> timedelta:
    """Return the pause after the given number of failures (1 for the first): it doubles, up to one hour."""
    doublings = min(max(failures - 1, 0), 20)
    return min(timedelta(seconds=base_seconds * (1 << doublings)), LONGEST)
