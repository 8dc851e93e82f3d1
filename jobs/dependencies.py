"""Dependencies in the worker: lags that end, runs that wait for other workflows, and runs that do not come."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from app.bootstrap import Runtime
from app.core.actor import system_actor
from app.domain.jobs.outbox import OutboxClaim
from app.domain.workflow import across, automation, doubts, reopening
from app.domain.workflow.transitions import follow


async def settle_across(runtime: Runtime, payload: Mapping[str, Any], claimed: OutboxClaim) -> None:
    """Settle the run named, or each of those that wait for the target run, in a transaction of its own."""
    actor = system_actor("Worker", correlation_id=claimed.correlation_id)
    if "run_id" in payload:
        run_ids = [UUID(payload["run_id"])]
    else:
        async with runtime.uow(actor) as uow:
            run_ids = list(await across.runs_that_wait(uow, target_run_id=UUID(payload["target_run_id"])))
    for run_id in run_ids:
        async with runtime.uow(actor) as uow:
            await across.settle(uow, run_id=run_id)


async def doubt_across(runtime: Runtime, payload: Mapping[str, Any], claimed: OutboxClaim) -> None:
    """Put in doubt what a run has built on work of another run that was opened again."""
    roots = [UUID(id_) for id_ in payload["roots"]]
    async with runtime.uow(system_actor("Worker", correlation_id=claimed.correlation_id)) as uow:
        await reopening.doubt_in(uow, run_id=UUID(payload["run_id"]), roots=roots, why=payload["why"])


async def pass_on_across(runtime: Runtime, payload: Mapping[str, Any], claimed: OutboxClaim) -> None:
    """Tell a run what came of work of another run that had been opened again."""
    run_id = UUID(payload["run_id"])
    async with runtime.uow(system_actor("Worker", correlation_id=claimed.correlation_id)) as uow:
        await across.settle(uow, run_id=run_id)
        doubted = await doubts.pass_on_in(
            uow,
            run_id=run_id,
            process_run_id=UUID(payload["process_run_id"]),
            changed=payload["changed"],
            news=payload["news"],
        )
        await follow(uow, (), doubted)


async def release_lagged(runtime: Runtime) -> int:
    """Let pass the dependencies whose lag is over."""
    async with runtime.uow(system_actor()) as uow:
        return await automation.release_lagged(uow)


async def tell_of_missing_runs(runtime: Runtime) -> int:
    """Tell of the runs of other workflows that are expected by now and do not exist."""
    async with runtime.uow(system_actor()) as uow:
        return await across.take_missing(uow)
