"""Forecasts in the worker: of runs that have changed, of runs under way as time passes, and their history."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from app.bootstrap import Runtime
from app.core.actor import system_actor
from app.domain.jobs.errors import Postponed
from app.domain.jobs.outbox import OutboxClaim
from app.domain.prediction import keeping, profiles

RUNS_AT_ONCE = 20
WORKFLOWS_AT_ONCE = 10


async def refresh_forecast(runtime: Runtime, payload: Mapping[str, Any], claimed: OutboxClaim) -> None:
    """Forecast a run that has changed.

    Raises:
        Postponed: it was forecast a moment ago; what happens until then will be seen as well.
    """
    run_id = UUID(payload["run_id"])
    async with runtime.uow(system_actor("Forecast", correlation_id=claimed.correlation_id)) as uow:
        pause = await keeping.pause_before(uow, run_id=run_id)
        if pause is None:
            await keeping.refresh_forecast(uow, run_id=run_id)
    if pause is not None:
        raise Postponed(datetime.now(UTC) + pause)


async def refresh_profiles(runtime: Runtime, payload: Mapping[str, Any], claimed: OutboxClaim) -> None:
    """Let a finished run count as history."""
    async with runtime.uow(system_actor("Forecast", correlation_id=claimed.correlation_id)) as uow:
        await profiles.refresh_after(uow, run_id=UUID(payload["run_id"]))


async def refresh_running(runtime: Runtime) -> int:
    """Forecast the runs under way whose forecast has grown old; each in a transaction of its own."""
    async with runtime.uow(system_actor("Forecast")) as uow:
        due = await keeping.runs_due_again(uow, limit=RUNS_AT_ONCE)
    for run_id in due:
        async with runtime.uow(system_actor("Forecast")) as uow:
            await keeping.refresh_forecast(uow, run_id=run_id, wait=False)
    return len(due)


async def refresh_history(runtime: Runtime) -> int:
    """Write the profiles anew that lack finished runs, and forget forecasts of long ago."""
    async with runtime.uow(system_actor("Forecast")) as uow:
        stale = await profiles.stale_workflows(uow, limit=WORKFLOWS_AT_ONCE)
    for workflow_id in stale:
        async with runtime.uow(system_actor("Forecast")) as uow:
            await profiles.refresh_profiles(uow, workflow_id=workflow_id)
    async with runtime.uow(system_actor("Forecast")) as uow:
        return len(stale) + await keeping.forget_old_forecasts(uow)
