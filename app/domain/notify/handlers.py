"""What the events of the engine and of the clocks mean to people."""

from app.core.uow import UnitOfWork
from app.domain.access.policy import AccessPolicy
from app.domain.notify.causes import all_held_up, causes_of
from app.domain.notify.notices import Notice, want
from app.domain.notify.rules import Rule
from app.domain.sla.events import SlaThresholdsPassed, ThresholdName
from app.domain.workflow.across import missing_in_words
from app.domain.workflow.events import (
    AwaitedRunsMissing,
    ProcessesReleased,
    ProcessStateChanged,
    ReopeningRequested,
    WorkDoubted,
)
from app.domain.workflow.reopening_queries import CONFIRM
from app.domain.workflow.states import Name, ProcessState

_BY_NAME = {
    Name.ASSIGN: Rule.ASSIGNED,
    Name.REJECT: Rule.REJECTED,
    Name.FAIL: Rule.FAILED,
}
MOST_SAID = 1_000
_BY_THRESHOLD = {ThresholdName.WARNING: Rule.WARNING, ThresholdName.BREACH: Rule.BREACH}


async def on_processes_released(uow: UnitOfWork, event: ProcessesReleased) -> None:
    """Tell whom the released work waits for."""
    want(uow, [Notice(Rule.RELEASED, process_run_id) for process_run_id in event.process_run_ids])


async def on_process_state_changed(uow: UnitOfWork, event: ProcessStateChanged) -> None:
    """Tell approvers what was submitted to them, makers what was decided, and the lead what has failed."""
    rule = _rule(event)
    if rule is not None:
        want(uow, [Notice(rule, event.process_run_id)])


async def on_awaited_runs_missing(uow: UnitOfWork, event: AwaitedRunsMissing) -> None:
    """Tell whom the work waits for, and the lead, that a run of another workflow has not come."""
    said = await missing_in_words(uow, event.awaited_run_ids)
    want(
        uow,
        [
            Notice(Rule.RUN_MISSING, process_run_id, str(awaited_id), said.get(awaited_id))
            for awaited_id, process_run_id in zip(event.awaited_run_ids, event.process_run_ids, strict=True)
        ],
    )


async def on_reopening_requested(uow: UnitOfWork, event: ReopeningRequested) -> None:
    """Tell who may confirm it."""
    policy: AccessPolicy = uow.resources.policy
    roles = policy.roles_that_may(event.application, "process_run", CONFIRM)
    said = _said(f"{uow.actor.name} asks to open it again: {event.reason}")
    want(uow, [Notice(Rule.REOPENING, event.process_run_id, str(event.reopening_id), said, roles)])


async def on_work_doubted(uow: UnitOfWork, event: WorkDoubted) -> None:
    """Tell whose finished work is in doubt, and who works on something that builds on what was opened again."""
    said = _said(event.why)
    want(
        uow,
        [
            *(Notice(Rule.DOUBTED, process_run_id, said=said) for process_run_id in event.stale),
            *(Notice(Rule.BASIS_OPENED, process_run_id, said=said) for process_run_id in event.told),
        ],
    )


def _said(text: str) -> str:
    return text[:MOST_SAID].rstrip(" .")


def _rule(event: ProcessStateChanged) -> Rule | None:
    if event.name in (Name.SUBMIT, Name.APPROVE) and event.to_state == ProcessState.IN_REVIEW:
        return Rule.REVIEW
    if event.name == Name.APPROVE and event.to_state == ProcessState.DONE:
        return Rule.APPROVED
    return next((rule for name, rule in _BY_NAME.items() if name == event.name), None)


async def on_thresholds_passed(uow: UnitOfWork, event: SlaThresholdsPassed) -> None:
    """Tell whom the work waits for that it is due soon or late; of what is late, the lead too.

    What waits for one late process is one message about that process, which grows, and not one for each.
    """
    named = {name.value for name in _BY_THRESHOLD}
    passed = [each for each in event.passed if each.record_entity == "process_run" and each.threshold in named]
    causes = await causes_of(uow, [each.record_id for each in passed])
    alone = [
        Notice(_BY_THRESHOLD[ThresholdName(each.threshold)], each.record_id, f"{each.clock_id}:{each.generation}")
        for each in passed
        if each.record_id not in causes
    ]
    want(uow, alone)
    for threshold, rule in _BY_THRESHOLD.items():
        held_up = {
            causes[each.record_id] for each in passed if each.threshold == threshold and each.record_id in causes
        }
        for cause, ids in (await all_held_up(uow, held_up, threshold)).items():
            want(uow, [Notice(rule, id_, occurrence=threshold.value, cause=cause) for id_ in ids])
