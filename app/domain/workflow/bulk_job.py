"""The job that does one command on many processes: each in a transaction of its own, so that none is lost."""

import hashlib
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Row, text

from app.core.actor import Actor, ActorKind
from app.core.errors import StepsError
from app.core.uow import UnitOfWork
from app.domain.access.grants import load_grants
from app.domain.jobs.context import ActionResult, JobContext
from app.domain.jobs.errors import ActionRefused
from app.domain.workflow.transitions import transition

READ_REQUESTER = text(
    """
SELECT u.id, u.name, u.email, u.time_zone, u.account_kind, u.active AND u.deleted_at IS NULL AS active
FROM job_run j LEFT JOIN app_user u ON u.id = j.created_by WHERE j.id = :id
"""
)
# A worker that took over finds what the one before has left; what that one is still at is locked, and passed over.
NEXT_ITEM = text(
    """
SELECT id, process_run_id, transition, expected_version FROM bulk_item
WHERE job_run_id = :id AND state = 'waiting' ORDER BY position LIMIT 1
FOR UPDATE SKIP LOCKED
"""
)
FINISH_ITEM = text(
    """
UPDATE bulk_item SET
    state = :state, to_state = :to_state, guard = :guard, detail = :detail, finished_at = :now,
    row_version = row_version + 1, updated_at = :now, updated_by = :by
WHERE id = :id
"""
)
RESULTS = text(
    """
SELECT state, count(*) AS number,
       string_agg(process_run_id || ' ' || coalesce(to_state, guard, ''), ',' ORDER BY position) AS what
FROM bulk_item WHERE job_run_id = :id GROUP BY state ORDER BY state
"""
)


async def bulk_transitions(context: JobContext) -> ActionResult:
    """Do what is still to be done of the command, by the rights that whoever gave it has now."""
    if context.process_run is not None:
        raise ActionRefused("This action does what people have chosen in a list; it is no work of a process.")
    uow, comment = context.uow, context.arguments.get("comment")
    requester = await _requester(uow, context.job_run_id)
    while True:
        await context.check_cancelled()
        if not uow.simulated:
            uow.now = uow.resources.clock.now()
        item = (await uow.execute(NEXT_ITEM, {"id": context.job_run_id})).first()
        if item is None:
            break
        outcome = await _one(uow, requester, item, comment)
        await uow.execute(FINISH_ITEM, {"id": item.id, "now": uow.now, "by": requester.id, **outcome})
        uow.touch(f"job_run:{context.job_run_id}", f"user:{requester.id}")
        await uow.checkpoint()
    uow.touch(f"user:{requester.id}")
    return await _summary(uow, context.job_run_id)


async def _one(uow: UnitOfWork, requester: Actor, item: Row[Any], comment: str | None) -> dict[str, Any]:
    """One process under a savepoint; its refusal is its result."""
    worker, uow.actor = uow.actor, replace(requester, correlation_id=uow.actor.correlation_id)
    try:
        async with uow.connection.begin_nested():
            done = await transition(
                uow,
                process_run_id=item.process_run_id,
                name=item.transition,
                expected_version=item.expected_version,
                comment=comment,
            )
            await uow.dispatch()
    except StepsError as error:
        guard = str(error.context.get("guard") or error.code)
        return {"state": "refused", "to_state": None, "guard": guard, "detail": error.detail}
    finally:
        uow.actor = worker
    return {"state": "done", "to_state": done.to_state.value, "guard": None, "detail": None}


async def _requester(uow: UnitOfWork, job_run_id: UUID) -> Actor:
    row = (await uow.execute(READ_REQUESTER, {"id": job_run_id})).first()
    if row is None or not row.active:
        raise ActionRefused("Whoever gave this command has no active account any more, so nothing more is done.")
    return Actor(
        row.id,
        row.name,
        ActorKind.SERVICE if row.account_kind == "service" else ActorKind.USER,
        email=row.email,
        grants=await load_grants(uow, row.id, uow.now),
        time_zone=row.time_zone or "Europe/Berlin",
    )


async def _summary(uow: UnitOfWork, job_run_id: UUID) -> ActionResult:
    rows = (await uow.execute(RESULTS, {"id": job_run_id})).all()
    fingerprint = hashlib.sha256(orjson.dumps([[row.state, row.what] for row in rows])).hexdigest()
    counts = {row.state: row.number for row in rows}
    summary = {"done": counts.get("done", 0), "refused": counts.get("refused", 0)}
    return ActionResult(output_fingerprint=fingerprint, summary=summary)
