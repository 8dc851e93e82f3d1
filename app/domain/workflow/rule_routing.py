"""Rules that decide about processes that may begin now: who owns them, how many levels approve, whether to skip."""

from app.core.actor import system_actor
from app.core.uow import UnitOfWork
from app.domain.rules.routing import Moment
from app.domain.workflow.acting import MAX_REASON, Acting, Command
from app.domain.workflow.decisions import check
from app.domain.workflow.events import ProcessesReleased
from app.domain.workflow.process_row import lock_process
from app.domain.workflow.rule_answers import apply_answer, ask_rules, note_refused
from app.domain.workflow.states import TRANSITIONS, Name, ProcessState
from app.domain.workflow.transitions import engine_transition

_NOT_BEGUN = (ProcessState.READY, ProcessState.IN_REVIEW, ProcessState.WAITING_EXTERNAL)


async def on_processes_released(uow: UnitOfWork, event: ProcessesReleased) -> None:
    """Ask the rules of those that have one, and do what they say with the engine's own checks. Their run is locked."""
    if not event.routed:
        return
    for id_, routing in (await ask_rules(uow, event.routed, Moment.READY)).items():
        row = await lock_process(uow, id_)
        if row.state not in _NOT_BEGUN or row.started_at is not None or row.signers:
            continue  # somebody was quicker
        await apply_answer(uow, row, routing, moment=Moment.READY)
        if not routing.skip:
            continue
        row = await lock_process(uow, id_)
        reason = routing.reason[:MAX_REASON]
        refusal = check(
            TRANSITIONS[Name.SKIP], row, Command(Name.SKIP, reason=reason), Acting(system_actor(), (), at=uow.now)
        )
        if refusal is None:
            await engine_transition(uow, row, Name.SKIP, reason=reason)
        else:
            note_refused(uow, row, routing, refusal.detail)
