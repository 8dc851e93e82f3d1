"""The time as every process of the installation sees it: real, or shifted by the demo's one offset."""

from datetime import UTC, datetime, timedelta


class Clock:
    """Wall clock plus a shift that is zero outside demo mode. The shift lives in the database; see `app.core.db`."""

    def __init__(self, shift: timedelta = timedelta(0)) -> None:
        self.shift = shift

    def now(self) -> datetime:
        return datetime.now(UTC) + self.shift

    def real(self) -> datetime:
        """The time outside: for leases, sessions and back-off, which a demo's shift must not touch."""
        return datetime.now(UTC)
