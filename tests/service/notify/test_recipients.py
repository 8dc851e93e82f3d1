"""Who is told: by role, place in the hierarchy and part in the work, at the moment in which it happens."""

from datetime import timedelta

from app.domain.sla.sweep import sweep
from app.domain.workflow.automation import begin_automatic, fail_automatic
from app.domain.workflow.runs import create_run
from tests.factories import SYSTEM
from tests.service.notify.desk import Desk
from tests.service.sla.close import DUE, WARN, statements
from tests.service.workflow.bank import DAY, approval, automatic, manual, reviewed


async def test_released_work_is_told_to_the_owner_role_where_its_grant_covers_the_node(desk: Desk) -> None:
    await desk.run([manual("comment", node="G10")])
    told = await desk.told("assignment")
    assert set(told) == {"preparer", "preparer2", "g10"}  # not em, not the single book, no other role
    assert told["g10"] == ["Ready for you: Comment"]


async def test_work_about_the_whole_bank_is_not_told_to_a_desk(desk: Desk) -> None:
    await desk.run([manual("tidy")])  # the node of the run is FX
    assert set(await desk.told()) == {"preparer", "preparer2"}


async def test_work_of_a_book_reaches_the_desk_above_it_and_the_book(desk: Desk) -> None:
    await desk.run([manual("comment", node="G10-1")])
    assert set(await desk.told()) == {"preparer", "preparer2", "g10", "g10_book"}


async def test_expired_revoked_and_future_grants_and_inactive_people_are_told_nothing(desk: Desk) -> None:
    for name in ("preparer", "preparer2", "g10"):
        assert name in desk.people
    change = "UPDATE role_grant SET {} WHERE user_id = (SELECT id FROM app_user WHERE name = '{}')"
    await desk.run_sql(change.format("valid_until = valid_from + interval '1 second'", "preparer"))
    await desk.run_sql(change.format("revoked_at = valid_from", "preparer2"))
    await desk.run_sql("UPDATE app_user SET active = false WHERE name = 'g10'")
    await desk.at(DUE - timedelta(hours=2))
    await desk.run([manual("comment", node="G10")])
    assert await desk.told() == {}


async def test_blocked_and_automatic_work_is_told_to_nobody_when_it_is_created(desk: Desk) -> None:
    await desk.run([automatic("load"), manual("check")], [("load", "check")])
    assert await desk.told() == {}


async def test_a_successor_is_told_about_when_its_predecessor_is_done(desk: Desk) -> None:
    await desk.run([manual("load"), manual("check", node="EM")], [("load", "check")])
    await desk.forget()
    await desk.do("submit", "load", "preparer")
    assert await desk.told() == {name: ["Ready for you: Check"] for name in ("preparer", "preparer2", "em")}


async def test_submitted_work_is_told_to_the_approvers_and_never_to_its_maker(desk: Desk) -> None:
    await desk.person("both", "preparer", "controller")
    await desk.run([reviewed("comment", node="G10")])
    await desk.forget()
    await desk.do("submit", "comment", "both")
    assert await desk.told() == {
        name: ["Waits for your approval: Comment"] for name in ("controller", "controller2", "g10_controller")
    }


async def test_the_next_level_is_told_without_those_who_signed_the_lower_one(desk: Desk) -> None:
    await desk.person("both", "controller", "desk_head")
    await desk.run([reviewed("comment", "controller", "desk_head")])
    await desk.do("submit", "comment", "preparer")
    await desk.forget()
    await desk.do("approve", "comment", "both")
    assert await desk.told() == {"desk_head": ["Waits for your approval: Comment"]}


async def test_an_approval_process_is_told_to_its_approvers_when_it_is_released(desk: Desk) -> None:
    await desk.run([manual("load"), approval("sign", "desk_head")], [("load", "sign")])
    await desk.forget()
    await desk.do("submit", "load", "preparer")
    assert await desk.told() == {"desk_head": ["Waits for your approval: Sign"]}


async def test_a_rejection_is_told_to_the_maker_with_the_reason(desk: Desk) -> None:
    await desk.run([reviewed("comment")])
    await desk.do("submit", "comment", "preparer")
    await desk.forget()
    await desk.do("reject", "comment", "controller", reason="Explain EURUSD")
    assert await desk.told() == {"preparer": ["Rejected: Comment"]}
    body = (await desk.rows("SELECT body FROM notification"))[0]["body"]
    assert "controller rejected it: Explain EURUSD" in body


async def test_a_complete_approval_is_told_to_the_maker(desk: Desk) -> None:
    await desk.run([reviewed("comment")])
    await desk.do("submit", "comment", "preparer")
    await desk.forget()
    await desk.do("approve", "comment", "controller")
    assert await desk.told() == {"preparer": ["Approved: Comment"]}


async def test_an_assignment_is_told_to_the_assignee_alone(desk: Desk) -> None:
    await desk.run([manual("comment")])
    await desk.forget()
    data = {"assignee_id": desk.people["preparer2"].id}
    await desk.do("assign", "comment", "operations", data=data)
    assert await desk.told() == {"preparer2": ["Assigned to you: Comment"]}


async def test_failed_automatic_work_is_told_to_operations(desk: Desk) -> None:
    await desk.run([automatic("load")])
    process_id = (await desk.row("load"))["id"]
    async with desk.runtime.uow(SYSTEM) as uow:
        await begin_automatic(uow, process_id)
        await fail_automatic(uow, process_id, "The file has no header")
    assert await desk.told("failure") == {"operations": ["Failed: Load"]}
    assert "The file has no header" in (await desk.rows("SELECT body FROM notification"))[0]["body"]


async def test_a_warning_goes_to_whom_it_waits_for_and_a_breach_to_operations_too(desk: Desk) -> None:
    await desk.run([manual("comment", node="G10"), reviewed("explain", node="EM")])
    await desk.do("claim", "comment", "g10")
    await desk.do("submit", "explain", "em")
    await desk.forget()
    await desk.at(WARN)
    await sweep(desk.runtime)
    assert await desk.told() == {
        "g10": ["Due soon: Comment"],
        "controller": ["Due soon: Explain"],
        "controller2": ["Due soon: Explain"],
    }
    await desk.forget()
    await desk.at(DUE)
    await sweep(desk.runtime)
    told = await desk.told()
    assert told["g10"] == ["Late: Comment"]
    assert told["controller"] == ["Late: Explain"]
    assert sorted(told["operations"]) == ["Late: Comment", "Late: Explain"]
    assert set(told) == {"g10", "controller", "controller2", "operations"}


async def test_recipients_are_those_of_the_moment_and_not_of_the_start(desk: Desk) -> None:
    await desk.run([manual("comment", node="EM")])
    await desk.person("joined", "preparer", node="EM")
    await desk.forget()
    await desk.at(WARN)
    await sweep(desk.runtime)
    assert "joined" in await desk.told()


async def test_operations_of_the_whole_bank_granted_once_in_platform_are_told(desk: Desk) -> None:
    id_ = await desk.user("bank-ops@bank.example", name="bank ops")
    await desk.grant_in("PLATFORM", id_, "operations")
    await desk.grant_in("PLATFORM", await desk.user("other@bank.example", name="other"), "preparer")
    await desk.run([manual("comment")])
    await desk.at(DUE)
    await sweep(desk.runtime)
    told = await desk.told("breach")
    assert "bank ops" in told
    assert "other" not in told  # a preparer of PLATFORM does not reach other applications


async def test_many_at_once_are_one_summary(desk: Desk) -> None:
    await desk.run([manual(f"p{number}", node="G10") for number in range(40)])
    told = await desk.told("assignment")
    assert told["g10"] == ["40 processes are ready for you: Close W-20261030"]
    await desk.forget()
    await desk.at(DUE)
    await sweep(desk.runtime)
    assert (await desk.told())["operations"] == ["40 processes are late: Close W-20261030"]
    body = (await desk.rows("SELECT body, link FROM notification"))[0]
    assert len(body["body"].splitlines()) == 40
    assert body["link"] == f"/runs/{desk.run_id}"


async def test_nobody_is_told_twice_about_the_same(desk: Desk) -> None:
    await desk.run([manual("comment")])
    await desk.at(DUE)
    await sweep(desk.runtime)
    before = await desk.told()
    await desk.run_sql("UPDATE sla_clock SET next_fire_at = due_at, next_threshold = 'breach'")
    await desk.run_sql("DELETE FROM sla_event WHERE threshold = 'breach'")
    assert (await sweep(desk.runtime)).announced == 1
    assert await desk.told() == before


async def test_what_is_rolled_back_is_told_to_nobody(desk: Desk) -> None:
    await desk.publish([manual("comment")])
    try:
        async with desk.runtime.uow(SYSTEM) as uow:
            await create_run(uow, workflow="W", business_date=DAY)
            await uow.dispatch()
            raise RuntimeError("the request failed at its very end")
    except RuntimeError:
        pass
    assert await desk.told() == {}


async def test_a_transition_that_tells_two_groups_keeps_its_statement_budget(desk: Desk) -> None:
    await desk.run([reviewed("load"), manual("check")], [("load", "check")])
    await desk.do("submit", "load", "preparer")
    row = await desk.row("load")
    await desk.forget()
    async with statements(desk.runtime) as sent:
        await desk.do("approve", "load", "controller", version=row["row_version"])
    told = await desk.told()
    assert told["preparer"] == ["Approved: Load", "Ready for you: Check"]
    own = [statement for statement in sent if "INSERT INTO notification" in statement]
    assert len(own) == 1
    assert len(sent) - 1 <= 6  # one is the test's own look at the row
