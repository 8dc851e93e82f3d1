"""One command on many processes: tried, done by a job, taken up again, and never done twice."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from app.core.errors import Forbidden, NotFound, ValidationFailed
from app.domain.jobs.execute import Ending, Execution, execute_job_run
from app.domain.workflow import bulk_job
from app.domain.workflow.bulk import FUNCTION, BulkResult, BulkTarget, begin_bulk, bulk_result, try_bulk
from app.domain.workflow.bulk_job import bulk_transitions
from jobs.automation import HOOKS
from models.base import uuid7
from tests.factories import SYSTEM
from tests.service.workflow.bank import Bank, manual, reviewed
from tests.service.workflow.standing_in import stands_in


@pytest.fixture
async def many(bank: Bank) -> Bank:
    """Six reviewed processes; a to d submitted by preparer, e by controller's colleague of both roles, f not yet."""
    bank.runtime.services = {"actions": {FUNCTION: bulk_transitions}}
    await bank.person("both", "preparer", "controller")
    await bank.run([reviewed(code) for code in "abcdef"])
    for code in "abcd":
        await bank.do("submit", code, "preparer")
    await bank.do("submit", "e", "both")
    return bank


async def targets(bank: Bank, codes: str) -> list[BulkTarget]:
    rows = [await bank.row(code) for code in codes]
    return [BulkTarget(row["id"], row["row_version"]) for row in rows]


async def begin(bank: Bank, who: str, codes: str, name: str = "approve", **values: Any) -> UUID:
    chosen = await targets(bank, codes)
    async with bank.runtime.uow(bank.people[who]) as uow:
        return await begin_bulk(uow, name=name, targets=chosen, **values)


async def execute(bank: Bank, job_run_id: UUID) -> Execution:
    return await execute_job_run(bank.runtime, job_run_id, hooks=HOOKS)


async def result(bank: Bank, who: str, job_run_id: UUID) -> BulkResult:
    async with bank.runtime.uow(bank.people[who]) as uow:
        return await bulk_result(uow, job_run_id)


async def test_a_trial_gives_a_verdict_on_each_and_changes_nothing(many: Bank) -> None:
    before = await many.count("SELECT count(*) FROM process_transition")
    stranger = BulkTarget(uuid7())
    async with many.runtime.uow(many.people["both"]) as uow:
        verdicts = await try_bulk(uow, name="approve", targets=[*await targets(many, "abef"), stranger])
    assert [(v.allowed, v.guard) for v in verdicts] == [
        (True, None), (True, None), (False, "maker_is_not_checker"), (False, "state"), (False, "not_found"),
    ]  # fmt: skip
    assert "maker is not checker" in (verdicts[2].detail or "")
    assert await many.count("SELECT count(*) FROM process_transition") == before


async def test_the_job_does_what_it_may_and_keeps_a_result_for_each(many: Bank) -> None:
    job = await begin(many, "both", "abef", comment="Checked together")
    assert (await result(many, "both", job)).count("waiting") == 4
    assert (await execute(many, job)).ending is Ending.SUCCEEDED
    found = await result(many, "both", job)
    assert [(line.state, line.to_state, line.guard) for line in found.lines] == [
        ("done", "done", None), ("done", "done", None), ("refused", None, "maker_is_not_checker"),
        ("refused", None, "state"),
    ]  # fmt: skip
    assert found.ended
    signed = "SELECT count(*) FROM process_approval WHERE actor_id = :who AND reason = 'Checked together'"
    assert await many.count(signed, who=many.people["both"].id) == 2
    audited = "SELECT count(*) FROM audit_entry WHERE command = 'transition:approve' AND actor_id = :who"
    assert await many.count(audited, who=many.people["both"].id) == 2
    assert (await many.states())["a"] == "done"


async def test_what_changed_since_it_was_chosen_is_refused_and_the_rest_is_done(many: Bank) -> None:
    chosen = await targets(many, "ab")
    await many.do("reject", "a", "controller", reason="No")
    await many.do("submit", "a", "preparer")
    async with many.runtime.uow(many.people["controller"]) as uow:
        job = await begin_bulk(uow, name="approve", targets=chosen)
    await execute(many, job)
    found = await result(many, "controller", job)
    assert [(line.state, line.guard) for line in found.lines] == [("refused", "stale_version"), ("done", None)]


async def test_a_job_that_was_broken_off_goes_on_where_it_stopped(many: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await begin(many, "controller", "abcd")
    one, calls = bulk_job._one, 0

    async def third_time_gone(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("the worker is gone")
        return await one(*given)

    monkeypatch.setattr(bulk_job, "_one", third_time_gone)
    assert (await execute(many, job)).ending is Ending.RETRYING
    assert (await result(many, "controller", job)).count("done") == 2
    async with many.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("UPDATE job_run SET lease_until = NULL"))
    assert (await execute(many, job)).ending is Ending.SUCCEEDED
    assert (await result(many, "controller", job)).count("done") == 4
    assert await many.count("SELECT count(*) FROM process_approval") == 4


async def test_a_job_that_is_delivered_twice_does_nothing_twice(many: Bank) -> None:
    job = await begin(many, "controller", "ab")
    await execute(many, job)
    assert (await execute(many, job)).ending is Ending.NOT_RUN
    assert await many.count("SELECT count(*) FROM process_approval") == 2


async def test_rights_that_have_ended_meanwhile_are_rights_no_more(many: Bank) -> None:
    job = await begin(many, "controller", "ab")
    async with many.runtime.uow(SYSTEM) as uow:
        await uow.execute(
            text("UPDATE role_grant SET revoked_at = :now WHERE user_id = :id"),
            {"now": uow.now, "id": many.people["controller"].id},
        )
    await execute(many, job)
    assert {line.state for line in (await result(many, "controller", job)).lines} == {"refused"}


async def test_nothing_is_done_for_an_account_that_is_not_active_any_more(many: Bank) -> None:
    job = await begin(many, "controller", "ab")
    async with many.runtime.uow(SYSTEM) as uow:
        await uow.execute(
            text("UPDATE app_user SET active = false WHERE id = :id"), {"id": many.people["controller"].id}
        )
    assert (await execute(many, job)).ending is Ending.FAILED
    assert await many.count("SELECT count(*) FROM process_approval") == 0


async def test_a_delegate_approves_in_bulk_on_behalf_of_the_absent(many: Bank) -> None:
    await many.person("deputy")
    await stands_in(many, "deputy", "controller")
    job = await begin(many, "deputy", "ab")
    await execute(many, job)
    assert (await result(many, "deputy", job)).count("done") == 2
    behalf = "SELECT count(*) FROM process_approval WHERE on_behalf_of_id = :id"
    assert await many.count(behalf, id=many.people["controller"].id) == 2


async def test_work_is_taken_given_back_and_submitted_in_bulk(bank: Bank) -> None:
    bank.runtime.services = {"actions": {FUNCTION: bulk_transitions}}
    await bank.run([manual("a"), manual("b")])
    for name, state in (("claim", "assigned"), ("unclaim", "ready"), ("submit", "done")):
        await execute(bank, await begin(bank, "preparer", "ab", name))
        assert set((await bank.states()).values()) == {state}


@pytest.mark.parametrize(
    ("name", "codes", "message"),
    [("cancel", "a", "Choose one of"), ("approve", "", "from 1 to 500"), ("approve", "aa", "there twice")],
)
async def test_what_cannot_be_asked_is_refused_in_words(many: Bank, name: str, codes: str, message: str) -> None:
    with pytest.raises(ValidationFailed, match=message):
        await begin(many, "controller", codes, name)


async def test_only_who_may_somewhere_asks_and_others_do_not_see_the_result(many: Bank) -> None:
    with pytest.raises(Forbidden):
        await begin(many, "auditor", "ab")
    job = await begin(many, "controller", "ab")
    async with many.runtime.uow(many.actor("preparer", node="EM")) as uow:
        with pytest.raises(NotFound):
            await bulk_result(uow, job)
    with pytest.raises(NotFound):
        await result(many, "controller", uuid7())
