"""Job runs in the worker: the job `run_job`, and what keeps job runs going when a worker is lost."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from app.bootstrap import Runtime
from app.core.actor import system_actor
from app.core.uow import UnitOfWork
from app.domain.jobs import recovery, retention
from app.domain.jobs.errors import Postponed
from app.domain.jobs.execute import execute_job_run
from app.domain.jobs.outbox import OutboxClaim
from app.domain.workflow import automation
from jobs.health import worker_name


class WorkflowHooks:
    """The workflow's side of a job run."""

    async def begin(self, uow: UnitOfWork, process_run_id: UUID) -> None:
        await automation.begin_automatic(uow, process_run_id)

    async def finish(self, uow: UnitOfWork, process_run_id: UUID, output_fingerprint: str) -> None:
        await automation.finish_automatic(uow, process_run_id, output_fingerprint)

    async def fail(self, uow: UnitOfWork, process_run_id: UUID, error: str) -> None:
        await automation.fail_automatic(uow, process_run_id, error)


HOOKS = WorkflowHooks()


async def run_job(runtime: Runtime, payload: Mapping[str, Any], claimed: OutboxClaim) -> None:
    """Run one attempt of a job run. That it failed is recorded there, with its own back-off: the delivery succeeded.

    Raises:
        Postponed: another worker is at it, or its pause is not over.
    """
    execution = await execute_job_run(
        runtime,
        UUID(payload["job_run_id"]),
        worker=worker_name(),
        hooks=HOOKS,
        actor=system_actor(correlation_id=claimed.correlation_id),
        lease=claimed.lease,
    )
    if execution.until is not None:
        raise Postponed(execution.until)


async def reap_lost(runtime: Runtime) -> int:
    """Bring back the job runs whose worker is gone."""
    return await recovery.reap_lost(runtime, hooks=HOOKS)


async def deliver_stranded(runtime: Runtime) -> int:
    """Deliver the job runs again that nothing else would deliver."""
    async with runtime.uow(system_actor()) as uow:
        return await recovery.deliver_stranded(uow)


async def release_planned(runtime: Runtime) -> int:
    """Release the processes whose earliest start has come."""
    async with runtime.uow(system_actor()) as uow:
        return await automation.release_planned(uow)


async def clear_old(runtime: Runtime) -> int:
    """Clear away what is older than it is kept."""
    return await retention.clear_old(runtime)
