"""Issues that raise themselves: one trouble is one issue, however often and from however many it comes."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from app.core.errors import ValidationFailed
from app.domain.entities.service import create_record
from app.domain.jobs.events import JobFailed
from app.domain.jobs.outbox import OutboxClaim
from app.domain.sla.events import PassedThreshold, SlaThresholdsPassed
from app.domain.support.issue_rules import RAISE, Happened, SameTrouble, Trouble, filled, key_of, raise_by_rules
from jobs.issues import raise_issue
from models.base import uuid7
from tests.factories import SYSTEM, add_row
from tests.service.support.issues.desk import Desk


async def _rule(desk: Desk, **values: Any) -> None:
    given = {"code": "JOBS", "label": "Failed jobs", "event": "job_failed", "urgency": "high", **values}
    async with desk.runtime.uow(desk.people["admin"]) as uow:
        await create_record(uow, "issue_rule", given)


async def _job(desk: Desk, code: str | None = "a", function: str = "load_rates") -> UUID:
    process = (await desk.row(code))["id"] if code else None
    async with desk.runtime.uow(SYSTEM) as uow:
        values = {"function": function, "state": "failed", "error": "No such file.", "process_run_id": process}
        numbers = {"attempt": 3, "failures": 3, "max_attempts": 3, "backoff_seconds": 10}
        return await add_row(uow, "job_run", **values, **numbers)


async def _fails(desk: Desk, job: UUID, code: str | None = "a") -> None:
    process = (await desk.row(code))["id"] if code else None
    async with desk.runtime.uow(SYSTEM) as uow:
        uow.emit(JobFailed(at=uow.now, job_run_id=job, process_run_id=process))


async def _work(desk: Desk, times: int = 1) -> None:
    """Do the jobs that were asked for, each as often as `times`, all at once."""
    async with desk.runtime.uow(SYSTEM) as uow:
        jobs = (await uow.execute(text("SELECT id, payload FROM outbox WHERE job = :job"), {"job": RAISE})).all()
    claims = [
        (job, OutboxClaim(job.id, RAISE, job.payload, 1, 5, uuid7(), timedelta(seconds=20)))
        for job in jobs
        for _ in range(times)
    ]
    await asyncio.gather(*(raise_issue(desk.runtime, job.payload, claim) for job, claim in claims))


async def _issues(desk: Desk) -> list[Any]:
    async with desk.runtime.uow(SYSTEM) as uow:
        return list((await uow.execute(text("SELECT * FROM issue ORDER BY created_at, id"))).all())


async def test_a_job_that_failed_for_good_raises_one_issue_about_its_process(desk: Desk) -> None:
    await _rule(desk, title="{process}: {function}, {event}", blocking=True)
    await _fails(desk, await _job(desk))
    await _work(desk, times=2)
    (issue,) = await _issues(desk)
    assert (issue.title, issue.occurrences) == ("A: load_rates, the job has failed", 1)
    assert (issue.priority is not None, issue.requester_id) == (True, None)
    assert issue.node_id == (await desk.row("a"))["node_id"]
    assert await desk.state("a") == "on_hold"
    assert await desk.count("SELECT count(*) FROM issue_message WHERE text LIKE '%No such file.%'") == 1
    assert await desk.count("SELECT count(*) FROM issue_link") == 2


async def test_what_comes_again_is_added_to_the_open_issue(desk: Desk) -> None:
    await _rule(desk, same_trouble="process")
    for _ in range(4):
        await _fails(desk, await _job(desk))
    await _work(desk, times=2)
    (issue,) = await _issues(desk)
    assert issue.occurrences == 4
    assert await desk.count("SELECT count(*) FROM issue_message") == 4
    await desk.solve(issue.id)
    await _fails(desk, await _job(desk))
    await _work(desk)
    assert [(each.occurrences, each.resolved_at is None) for each in await _issues(desk)] == [(4, False), (1, True)]


async def test_the_key_says_what_one_trouble_is(desk: Desk) -> None:
    await _rule(desk, same_trouble="function")
    for code, function in (("a", "load_rates"), ("b", "load_rates"), ("c", "post")):
        await _fails(desk, await _job(desk, code, function), code)
    await _work(desk)
    assert sorted(each.occurrences for each in await _issues(desk)) == [1, 2]


async def test_a_condition_and_a_switched_off_rule_leave_out_the_rest(desk: Desk) -> None:
    await _rule(desk, condition={"code": "b"}, same_trouble="process_run")
    await _rule(desk, code="OFF", active=False)
    for code in ("a", "b"):
        await _fails(desk, await _job(desk, code), code)
    await _work(desk)
    (issue,) = await _issues(desk)
    assert issue.title == "B: the job has failed"
    with pytest.raises(ValidationFailed):
        await _rule(desk, code="BAD", condition={"no_such_field": 1})


async def test_a_job_of_no_process_raises_an_issue_of_the_platform(desk: Desk) -> None:
    await _rule(desk)
    await _fails(desk, await _job(desk, None), None)
    await _work(desk)
    (issue,) = await _issues(desk)
    assert issue.application_id == desk.applications["PLATFORM"]


async def test_a_batch_of_breaches_is_one_job_and_an_issue_for_the_run(desk: Desk) -> None:
    await _rule(desk, event="breach", same_trouble="run", title="{run}: {event}")
    ids = [(await desk.row(code))["id"] for code in desk.codes]
    async with desk.runtime.uow(SYSTEM) as uow:
        passed = tuple(
            PassedThreshold(uuid7(), uuid7(), 1, threshold, "process_run", id_)
            for id_ in ids
            for threshold in ("breach", "warning")
        )
        uow.emit(SlaThresholdsPassed(at=uow.now, passed=passed))
    assert await desk.count("SELECT count(*) FROM outbox WHERE job = 'raise_issue'") == 1
    await _work(desk, times=3)
    (issue,) = await _issues(desk)
    assert issue.occurrences == 3
    assert await desk.count("SELECT count(*) FROM issue_link") == 3


async def test_what_happens_after_a_merge_is_added_to_the_issue_that_goes_on(desk: Desk) -> None:
    await _rule(desk)
    await _fails(desk, await _job(desk))
    await _work(desk)
    (issue,) = await _issues(desk)
    target = await desk.issue("The feed is down")
    await desk.step(issue.id, "merge", values={"merged_into": str(target)})
    await _fails(desk, await _job(desk))
    await _work(desk)
    assert len(await _issues(desk)) == 2
    assert (await desk.read(target))["occurrences"] == 3


async def test_no_rule_costs_no_job(desk: Desk) -> None:
    await _fails(desk, await _job(desk))
    assert await desk.count("SELECT count(*) FROM outbox WHERE job = 'raise_issue'") == 0
    async with desk.runtime.uow(SYSTEM) as uow:
        happened = [Happened("x", ("job_run", uuid7()))]
        assert await raise_by_rules(uow, trouble=Trouble.JOB_FAILED, happened=happened) == 0


class _Subject:
    entity, id, process_id, process_run_id, run_id, function = "job_run", "j", None, None, None, None


def test_a_subject_without_what_the_key_is_made_of_stands_for_itself() -> None:
    keys = {same: key_of(same, _Subject()) for same in SameTrouble}
    assert keys.pop(SameTrouble.ALL) == "all"
    assert set(keys.values()) == {"job_run:j"}


def test_only_known_words_are_filled_into_a_title() -> None:
    assert filled("{process}  {event} {x}", {"process": "A", "event": "failed"}) == "A failed {x}"
