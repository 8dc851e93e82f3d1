"""How long work tells how far it is, without knowing who listens."""

from typing import Protocol


class Progress(Protocol):
    """Receives the state of a long task; a progress bar at a terminal, a job's log, or nothing."""

    def __call__(self, step: str, done: int, total: int) -> None:
        """Say that `done` of `total` parts of `step` are finished. A new `step` starts a new line."""


def no_progress(step: str, done: int, total: int) -> None:
    """Listen to nothing."""
