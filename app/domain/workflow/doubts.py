"""What is built on work that was opened again: stale until that work has ended, then revalidated or begun again.

A process that was opened again, or is stale, keeps what it had produced in `output_before`. When it ends, its output is
compared with that. Nothing changed: what was built on it is valid as it is. Something changed: it begins again. What
was under way meanwhile is told; what was completed meanwhile on what has changed becomes stale as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from app.core.uow import UnitOfWork
from app.domain.jobs.runs import withdraw_jobs
from app.domain.workflow.events import ProcessStateChanged, WorkDoubted
from app.domain.workflow.process_row import ProcessRow
from app.domain.workflow.reopening_sql import FORGET, MARK, PASS_ON, WAITING_RUNS
from app.domain.workflow.states import ProcessState

PASS_ON_ACROSS = "workflow.pass_on_across"  # noqa: S105  (a job, no secret)


@dataclass(frozen=True, slots=True)
class Marked:
    """What has become of the work below: in doubt, or waiting again."""

    stale: tuple[UUID, ...]
    blocked: tuple[UUID, ...]


async def mark(
    uow: UnitOfWork,
    *,
    run_id: UUID,
    roots: Sequence[UUID],
    why: str,
    opened: int,
    with_roots: bool = True,
    changed: bool = False,
) -> Marked:
    """Put everything of one run that is built on `roots` in doubt. The run is locked.

    `opened`: how many of the roots are open again in this run; `with_roots`: their own edges wait again too.
    """
    values = {
        "run_id": run_id,
        "roots": list(roots),
        "roots_opened": opened,
        "with_roots": with_roots,
        "changed": changed,
        "why": why[:2_000],
        "now": uow.now,
        "actor_id": uow.actor.id,
    }
    row = (await uow.execute(MARK, values)).one()
    for id_ in row.queued:
        await withdraw_jobs(uow, process_run_id=id_, reason=why)
    for id_ in row.stale:
        uow.emit(
            ProcessStateChanged(
                at=uow.now, process_run_id=id_, run_id=run_id, from_state="done", to_state="stale", name="stale"
            )
        )
    if row.stale or row.told:
        uow.emit(WorkDoubted(at=uow.now, run_id=run_id, stale=tuple(row.stale), told=tuple(row.told), why=why))
    uow.touch(f"run:{run_id}", *(f"process_run:{id_}" for id_ in (*row.stale, *row.blocked, *row.told)))
    return Marked(tuple(row.stale), tuple(row.blocked))


async def pass_on(uow: UnitOfWork, before: ProcessRow, now_is: ProcessRow) -> tuple[UUID, ...]:
    """Tell what came of work that had been opened again; returns the stale processes that can be decided now."""
    if not now_is.state.closed:
        return ()
    as_it_was = now_is.state is (before.state_before_stale or ProcessState.DONE)
    changed = not (as_it_was and (now_is.output_hash or "") == before.output_before)
    news = f"“{before.label}” has another result since this was begun." if changed else ""
    await uow.execute(FORGET, {"id": before.id})
    for run_id in (await uow.execute(WAITING_RUNS, {"id": before.id, "run_id": before.run_id})).scalars().all():
        payload = {"run_id": run_id, "process_run_id": before.id, "changed": changed, "news": news}
        uow.enqueue(PASS_ON_ACROSS, payload)
    return await pass_on_in(uow, run_id=before.run_id, process_run_id=before.id, changed=changed, news=news)


async def pass_on_in(
    uow: UnitOfWork, *, run_id: UUID, process_run_id: UUID, changed: bool, news: str
) -> tuple[UUID, ...]:
    """The same for one run that builds on it. The run is locked, and its edges have passed."""
    values = {"id": process_run_id, "run_id": run_id, "changed": changed, "news": news}
    row = (await uow.execute(PASS_ON, {**values, "now": uow.now, "actor_id": uow.actor.id})).one()
    if not row.finished:
        return tuple(row.decided)
    marked = await mark(uow, run_id=run_id, roots=[process_run_id], why=news, opened=0, with_roots=False, changed=True)
    return tuple(dict.fromkeys((*row.decided, *marked.stale)))
