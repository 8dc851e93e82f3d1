"""What forecasts hear of runs. The work itself is done later, by a job that many changes share."""

from datetime import timedelta
from uuid import UUID

from app.core.uow import UnitOfWork
from app.domain.workflow.events import (
    ProcessesReleased,
    ProcessStateChanged,
    RunCreated,
    RunFinished,
    RunMigrated,
    RunStateChanged,
)

REFRESH_RUN = "refresh_forecast"
REFRESH_PROFILES = "refresh_profiles"
DELAY = timedelta(seconds=3)
PROFILES_DELAY = timedelta(seconds=30)


async def on_run_changed(
    uow: UnitOfWork, event: RunCreated | RunMigrated | RunStateChanged | ProcessesReleased | ProcessStateChanged
) -> None:
    """Have the run forecast anew, once for all that happens within a few seconds."""
    _ask(uow, REFRESH_RUN, event.run_id, DELAY)


async def on_run_finished(uow: UnitOfWork, event: RunFinished) -> None:
    """Let the finished run count as history."""
    _ask(uow, REFRESH_PROFILES, event.run_id, PROFILES_DELAY)


def _ask(uow: UnitOfWork, job: str, run_id: UUID, delay: timedelta) -> None:
    if uow.simulated:  # whoever runs the past forecasts it, or not, by itself
        return
    uow.enqueue(job, {"run_id": run_id}, delay=delay, key=f"{job}:{run_id}")
