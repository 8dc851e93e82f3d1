"""The commands on a process run by their names, with the arguments that each of them takes."""

from datetime import datetime
from uuid import UUID

from app.core.uow import UnitOfWork
from app.domain.workflow.states import Name
from app.domain.workflow.transitions import TransitionResult, transition


async def claim(uow: UnitOfWork, *, process_run_id: UUID, expected_version: int) -> TransitionResult:
    """Take a ready process; of several who do so at once, one gets it."""
    return await transition(uow, process_run_id=process_run_id, name=Name.CLAIM, expected_version=expected_version)


async def assign(
    uow: UnitOfWork, *, process_run_id: UUID, expected_version: int, assignee_id: UUID, reason: str | None = None
) -> TransitionResult:
    """Give the process to a user who has its owner role there."""
    return await transition(
        uow,
        process_run_id=process_run_id,
        name=Name.ASSIGN,
        expected_version=expected_version,
        reason=reason,
        data={"assignee_id": assignee_id},
    )


async def start(uow: UnitOfWork, *, process_run_id: UUID, expected_version: int) -> TransitionResult:
    """Begin; whoever begins is its assignee."""
    return await transition(uow, process_run_id=process_run_id, name=Name.START, expected_version=expected_version)


async def submit(
    uow: UnitOfWork, *, process_run_id: UUID, expected_version: int, comment: str | None = None
) -> TransitionResult:
    """Hand in, once comment, checklist and evidence are there; to review, or done where there is no approval level."""
    return await transition(
        uow, process_run_id=process_run_id, name=Name.SUBMIT, expected_version=expected_version, comment=comment
    )


async def approve(
    uow: UnitOfWork, *, process_run_id: UUID, expected_version: int, comment: str | None = None
) -> TransitionResult:
    """Sign the open level. The maker, and whoever signed a lower level of this round, cannot."""
    return await transition(
        uow, process_run_id=process_run_id, name=Name.APPROVE, expected_version=expected_version, comment=comment
    )


async def reject(
    uow: UnitOfWork, *, process_run_id: UUID, expected_version: int, reason: str, comment: str | None = None
) -> TransitionResult:
    """Send it back to whoever submitted it; the next round begins."""
    return await transition(
        uow,
        process_run_id=process_run_id,
        name=Name.REJECT,
        expected_version=expected_version,
        reason=reason,
        comment=comment,
    )


async def hold(
    uow: UnitOfWork, *, process_run_id: UUID, expected_version: int, reason: str, review_by: datetime
) -> TransitionResult:
    """Stop it until somebody looks at it again, at the latest at `review_by`."""
    return await transition(
        uow,
        process_run_id=process_run_id,
        name=Name.HOLD,
        expected_version=expected_version,
        reason=reason,
        data={"review_by": review_by},
    )


async def resume(uow: UnitOfWork, *, process_run_id: UUID, expected_version: int) -> TransitionResult:
    """End a hold; it goes on where it was, or further where its predecessors have closed meanwhile."""
    return await transition(uow, process_run_id=process_run_id, name=Name.RESUME, expected_version=expected_version)


async def skip(uow: UnitOfWork, *, process_run_id: UUID, expected_version: int, reason: str) -> TransitionResult:
    """Close it undone, where its definition allows that; only dependencies that accept it are satisfied."""
    return await transition(
        uow, process_run_id=process_run_id, name=Name.SKIP, expected_version=expected_version, reason=reason
    )


async def cancel(uow: UnitOfWork, *, process_run_id: UUID, expected_version: int, reason: str) -> TransitionResult:
    """Close it because it is not wanted any more; only dependencies that accept it are satisfied."""
    return await transition(
        uow, process_run_id=process_run_id, name=Name.CANCEL, expected_version=expected_version, reason=reason
    )


async def retry(
    uow: UnitOfWork, *, process_run_id: UUID, expected_version: int, reason: str | None = None
) -> TransitionResult:
    """Give a failed automatic process to the workers again."""
    return await transition(
        uow, process_run_id=process_run_id, name=Name.RETRY, expected_version=expected_version, reason=reason
    )
