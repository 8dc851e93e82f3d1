"""Handing automatic processes to the workers: a job in the same transaction that made the process ready."""

from collections.abc import Iterable
from uuid import UUID

from app.core.uow import UnitOfWork
from app.domain.jobs.runs import queue_job, withdraw_jobs
from app.domain.workflow.process_row import ProcessRow
from app.domain.workflow.released import Released
from app.domain.workflow.states import ProcessKind, ProcessState


async def queue(uow: UnitOfWork, released: Iterable[Released]) -> None:
    """Queue a job for each automatic process that has become ready."""
    for item in released:
        if item.kind is ProcessKind.AUTOMATIC and item.state is ProcessState.READY and item.action:
            await queue_job(
                uow,
                function=item.action,
                arguments={"process_run_id": item.id, "parameters": item.parameters},
                process_run_id=item.id,
                max_attempts=item.max_attempts,
                backoff_seconds=item.backoff_seconds,
            )


def wants_worker(before: ProcessRow, now_is: ProcessRow) -> bool:
    """Whether a command has made an automatic process ready by itself: a retry, or the end of a hold."""
    became_ready = now_is.state is ProcessState.READY and before.state is not ProcessState.READY
    return now_is.kind is ProcessKind.AUTOMATIC and became_ready


def leaves_worker(before: ProcessRow, now_is: ProcessRow) -> bool:
    """Whether a person has taken automatic work away from the workers: held, skipped or cancelled it."""
    stopped = (ProcessState.ON_HOLD, ProcessState.SKIPPED, ProcessState.CANCELLED)
    queued = (ProcessState.READY, ProcessState.IN_PROGRESS)
    return now_is.kind is ProcessKind.AUTOMATIC and now_is.state in stopped and before.state in queued


async def withdraw(uow: UnitOfWork, row: ProcessRow) -> None:
    await withdraw_jobs(uow, process_run_id=row.id, reason=f"The process is {row.state.label.lower()}: {row.reason}")


async def queue_again(uow: UnitOfWork, row: ProcessRow) -> UUID:
    return await queue_job(
        uow,
        function=row.action or "",
        arguments={"process_run_id": row.id, "parameters": row.parameters},
        process_run_id=row.id,
        max_attempts=row.max_attempts,
        backoff_seconds=row.backoff_seconds,
    )
