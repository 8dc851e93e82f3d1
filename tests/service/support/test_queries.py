"""Queries: asking, answering, closing; who is told; that they hold up their process and nothing is lost."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from app.bootstrap import Runtime
from app.core.errors import (
    Forbidden,
    InvalidRequest,
    NotFound,
    StaleVersion,
    StepsError,
    TransitionRefused,
    ValidationFailed,
)
from app.domain.entities.service import create_record
from app.domain.support.query_asking import NewQuery, ask_query
from app.domain.support.query_events import tell_due
from app.domain.support.query_reading import Part, Standing, asked_of_me, list_queries, threads_of
from app.domain.support.query_rules import EDIT_WINDOW, Asked
from app.domain.support.query_thread import Wish, change_query, correct_message, mark_read, watch
from app.domain.workflow.automation import begin_automatic, finish_automatic
from app.domain.workflow.neighbours import why_blocked
from tests.factories import SYSTEM
from tests.service.support.desk import Desk, open_desk
from tests.service.workflow.bank import automatic, manual, reviewed
from tests.service.workflow.statements import counted


@pytest.fixture
async def desk(runtime: Runtime) -> Desk:
    return await open_desk(runtime)


async def _refused(awaitable: Any, *errors: type[StepsError]) -> StepsError:
    with pytest.raises(errors) as raised:
        await awaitable
    return raised.value


async def test_a_query_is_asked_answered_and_closed_by_who_asked_it(desk: Desk) -> None:
    await desk.run([manual("a")])
    asked = await desk.ask("preparer", "a", of="controller", said="Do T-1 and @controller2 belong to today?")
    assert asked.reference.startswith("QRY-")
    assert await desk.told("controller") == ["preparer asks: Late trades"]
    assert await desk.told("controller2") == ["preparer names you: Late trades"]
    assert await desk.told("preparer") == []
    answered = await desk.say("controller", asked.id, "Yes, both.", "answer")
    assert (answered.number, answered.step) == (2, "answer")
    assert (await desk.query(asked.id))["lifecycle_state"] == "answered"
    assert await desk.told("preparer") == ["Answered by controller: Late trades"]
    await desk.say("preparer", asked.id, step="close")
    row = await desk.query(asked.id)
    assert (row["lifecycle_state"], row["closed_by_id"]) == ("closed", desk.people["preparer"].id)
    thread = await desk.thread("preparer", asked.id)
    assert [(line.by, line.text, line.step) for line in thread.messages] == [
        ("preparer", "Do T-1 and @controller2 belong to today?", None),
        ("controller", "Yes, both.", "answer"),
    ]
    assert [named["name"] for named in thread.messages[0].mentions] == ["controller2"]


async def test_only_whoever_is_asked_answers_and_only_the_asker_or_a_lead_closes(desk: Desk) -> None:
    await desk.run([manual("a")])
    asked = await desk.ask("preparer", "a", of="controller")
    assert isinstance(await _refused(desk.say("controller2", asked.id, "Me", "answer"), TransitionRefused), StepsError)
    await _refused(desk.say("controller", asked.id, "Done", "close"), TransitionRefused)
    await _refused(desk.say("controller", asked.id, "Done", "close_as_lead"), Forbidden)
    assert (await desk.query(asked.id))["lifecycle_state"] == "open"
    assert (await desk.query(asked.id))["messages"] == 1  # words that go with a refused step are not kept
    offered = (await desk.thread("controller", asked.id)).steps
    assert offered is not None
    assert [offer.step.name for offer in offered.offers if offer.allowed] == ["answer"]
    await _refused(desk.say("operations", asked.id, "", "close_as_lead"), ValidationFailed)
    await desk.say("operations", asked.id, "Settled on the phone", "close_as_lead")
    assert (await desk.query(asked.id))["lifecycle_state"] == "closed"


async def test_a_role_and_a_group_are_asked_together(desk: Desk) -> None:
    await desk.run([manual("a")])
    asked = await desk.ask("preparer", "a", of="role:controller")
    assert await desk.told("controller") == await desk.told("controller2") == ["preparer asks: Late trades"]
    async with desk.runtime.uow(desk.people["controller2"]) as uow:
        assert (await asked_of_me(uow))[1] == 1
    async with desk.runtime.uow(desk.people["desk_head"]) as uow:
        assert (await asked_of_me(uow))[1] == 0
    await desk.say("controller2", asked.id, "Mine", "answer")
    async with desk.runtime.uow(desk.people["controller"]) as uow:
        assert (await asked_of_me(uow))[1] == 0
    people = {"code": "FXC", "members": [{"user": str(desk.people["desk_head"].id)}]}
    async with desk.runtime.uow(SYSTEM) as uow:
        group = await create_record(uow, "user_group", {**people, "label": "FX controllers"})
    record = ("process_run", (await desk.row("a"))["id"])
    async with desk.runtime.uow(desk.people["preparer"]) as uow:
        second = await ask_query(uow, record=record, new=NewQuery("Which curve?", "?", Asked(group_id=group["id"])))
    assert await desk.told("desk_head") == ["preparer asks: Which curve?"]
    await desk.say("desk_head", second.id, "The official close", "answer")
    assert (await desk.query(second.id))["lifecycle_state"] == "answered"


async def test_what_is_missing_is_said_beside_each_field(desk: Desk) -> None:
    await desk.run([manual("a")])
    refused = await _refused(
        desk.ask("preparer", "a", subject=" ", said="", due="tomorrow", priority="soon"), ValidationFailed
    )
    assert {problem.path for problem in refused.problems} == {"subject", "text", "due", "priority"}
    refused = await _refused(desk.ask("preparer", "a", of="preparer"), ValidationFailed)
    assert [problem.message for problem in refused.problems] == ["You cannot ask yourself."]
    await desk.person("far", "controller", node="EM-1")
    await desk.person("nobody")
    refused = await _refused(desk.ask("preparer", "a", of="nobody"), ValidationFailed)
    assert "may not see the record" in refused.problems[0].message
    await _refused(desk.ask("auditor", "a"), Forbidden)
    assert await desk.count("SELECT count(*) FROM process_query") == 0


@pytest.mark.parametrize("end", ["answer", "close"])
async def test_an_open_blocking_query_holds_up_submission_until_it_is_answered_or_closed(desk: Desk, end: str) -> None:
    await desk.run([manual("a")])
    asked = await desk.ask("controller", "a", of="preparer", blocking=True)
    await desk.ask("controller", "a", of="preparer", blocking=True, subject="Which curve?")
    refused = await _refused(desk.do("submit", "a", "preparer"), TransitionRefused)
    assert refused.detail == "2 open queries block this: “Late trades”, “Which curve?”."
    assert refused.context["guard"] == "open_query"
    async with desk.runtime.uow(desk.people["preparer"]) as uow:
        assert (await why_blocked(uow, (await desk.row("a"))["id"])).queries == ("Late trades", "Which curve?")
        second = (await list_queries(uow)).queries
        assert {head.blocks for head in second} == {True}
    who, words = ("preparer", "So it is") if end == "answer" else ("controller", "")
    for head in second:
        await desk.say(who, head.id, words, end)
    row = await desk.row("a")
    assert (row["blocking_queries"], row["open_queries"]) == (0, 2 if end == "answer" else 0)
    await desk.do("submit", "a", "preparer")
    assert await desk.state("a") == "done"
    if end == "close":
        refused = await _refused(desk.say("controller", asked.id, "Again", None), TransitionRefused)
        assert "is closed" in refused.detail


async def test_a_query_that_comes_during_review_holds_up_the_approval_and_again_when_reopened(
    desk: Desk,
) -> None:
    await desk.run([reviewed("a")])
    await desk.do("submit", "a", "preparer")
    asked = await desk.ask("controller", "a", of="preparer", blocking=True)
    await _refused(desk.do("approve", "a", "controller"), TransitionRefused)
    await desk.say("preparer", asked.id, "Because", "answer")
    await _refused(desk.say("controller", asked.id, "", "reopen"), ValidationFailed)
    await desk.say("controller", asked.id, "That does not explain it", "reopen")
    assert (await desk.query(asked.id))["lifecycle_state"] == "reopened"
    refused = await _refused(desk.do("approve", "a", "controller"), TransitionRefused)
    assert refused.detail == "An open query blocks this: “Late trades”."
    await desk.do("reject", "a", "controller", reason="Not explained")  # sending back is no completion
    await desk.say("controller", asked.id, step="close")
    await desk.do("submit", "a", "preparer")
    await desk.do("approve", "a", "controller")
    assert await desk.state("a") == "done"


async def test_automatic_work_waits_for_the_answer_and_is_completed_with_it(desk: Desk) -> None:
    await desk.run([automatic("a"), manual("b")], [("a", "b")])
    asked = await desk.ask("controller", "a", of="operations", blocking=True)
    id_ = (await desk.row("a"))["id"]
    async with desk.runtime.uow(SYSTEM) as uow:
        await begin_automatic(uow, id_)
        await finish_automatic(uow, id_, "f" * 64)
    assert await desk.states() == {"a": "waiting_external", "b": "blocked"}
    await desk.say("operations", asked.id, "The file is right", "answer")
    assert await desk.states() == {"a": "done", "b": "ready"}
    assert (await desk.row("a"))["snapshot_hash"] == "f" * 64


async def test_whoever_only_sees_a_process_cannot_hold_it_up_but_can_ask_and_close(desk: Desk) -> None:
    await desk.run([manual("a")])
    await desk.person("g10", "preparer", node="G10")
    refused = await _refused(desk.ask("g10", "a", of="operations", blocking=True), Forbidden)
    assert "only elsewhere" in refused.detail
    assert not (await desk.row("a"))["blocking_queries"]
    asked = await desk.ask("g10", "a", of="operations")
    await desk.say("operations", asked.id, "At four", "answer")
    await desk.say("g10", asked.id, step="close")
    assert (await desk.query(asked.id))["lifecycle_state"] == "closed"
    await desk.person("em", "preparer", node="EM")
    await desk.ask("controller", "a", of="em", subject="For the desk")
    done = await desk.ask("controller", "a", of="em", subject="To answer")
    await desk.say("em", done.id, "Here", "answer")
    assert (await desk.query(done.id))["answered_by_id"] == desk.people["em"].id


async def test_a_closed_process_cannot_be_held_up(desk: Desk) -> None:
    await desk.run([manual("a")])
    await desk.do("submit", "a", "preparer")
    refused = await _refused(desk.ask("controller", "a", of="preparer", blocking=True), ValidationFailed)
    assert refused.problems[0].message == "“A” is done: nothing is held up."
    assert (await desk.ask("controller", "a", of="preparer")).reference.startswith("QRY-")


async def test_who_asks_and_who_answers_at_once_leave_the_right_count(desk: Desk) -> None:
    await desk.run([manual("a"), manual("b")])
    await desk.person("controller3", "controller")
    first = await asyncio.gather(
        *(desk.ask(who, "a", of="preparer", blocking=True) for who in ("controller", "controller2", "controller3")),
        *(desk.ask("controller", "b", of="preparer", blocking=True) for _ in range(3)),
    )
    assert (await desk.row("a"))["blocking_queries"] == (await desk.row("b"))["blocking_queries"] == 3
    more = [desk.ask("controller", "a", of="preparer2", blocking=True) for _ in range(2)]
    await asyncio.gather(*(desk.say("preparer", one.id, "So", "answer") for one in first), *more)
    assert ((await desk.row("a"))["blocking_queries"], (await desk.row("a"))["open_queries"]) == (2, 5)
    assert ((await desk.row("b"))["blocking_queries"], (await desk.row("b"))["open_queries"]) == (0, 3)
    assert await desk.count("SELECT count(DISTINCT reference) FROM process_query") == 8


async def test_a_submission_and_a_blocking_query_at_once_never_both_succeed(desk: Desk) -> None:
    codes = [f"p{number}" for number in range(6)]
    await desk.run([manual(code) for code in codes])

    async def both(code: str) -> tuple[bool, bool]:
        done = await asyncio.gather(
            desk.do("submit", code, "preparer"),
            desk.ask("controller", code, of="preparer", blocking=True),
            return_exceptions=True,
        )
        assert all(not isinstance(one, BaseException) or isinstance(one, StepsError) for one in done), done
        return not isinstance(done[0], BaseException), not isinstance(done[1], BaseException)

    for submitted, asked in await asyncio.gather(*(both(code) for code in codes)):
        assert submitted != asked


async def test_own_words_are_corrected_for_a_while_and_what_they_were_is_kept(desk: Desk) -> None:
    await desk.run([manual("a")])
    asked = await desk.ask("preparer", "a", said="Wyh?")
    first = (await desk.thread("preparer", asked.id)).messages[0]
    assert first.correctable

    async def correct(who: str, said: str, later: timedelta = timedelta(0)) -> None:
        now = desk.runtime.clock.now() + later
        async with desk.runtime.uow(desk.people[who], now=now) as uow:
            await correct_message(uow, message_id=first.id, said=said)

    await correct("preparer", "Why, @controller2?")
    await correct("preparer", "Why, @controller2? Please")
    assert await desk.told("controller2") == ["preparer names you: Late trades"]
    message = (await desk.thread("controller", asked.id)).messages[0]
    assert message.text == "Why, @controller2? Please"
    assert [before["text"] for before in message.earlier] == ["Wyh?", "Why, @controller2?"]
    await _refused(correct("controller", "No"), Forbidden)
    await _refused(correct("preparer", " "), ValidationFailed)
    await _refused(correct("preparer", "Too late", EDIT_WINDOW + timedelta(seconds=1)), TransitionRefused)
    audited = "SELECT count(*) FROM audit_entry WHERE command = 'query_message.correct'"
    assert await desk.count(audited) == 2


async def test_reading_and_watching_are_each_persons_own(desk: Desk) -> None:
    await desk.run([manual("a")])
    asked = await desk.ask("preparer", "a")
    await desk.say("controller", asked.id, "Looking at it")
    assert (await desk.thread("preparer", asked.id)).head.unread == 1
    assert (await desk.thread("controller", asked.id)).head.unread == 0
    assert (await desk.thread("operations", asked.id)).head.unread == 2
    async with desk.runtime.uow(desk.people["operations"]) as uow:
        await mark_read(uow, query_id=asked.id)
    head = (await desk.thread("operations", asked.id)).head
    assert (head.unread, head.watching) == (0, False)
    async with desk.runtime.uow(desk.people["operations"]) as uow:
        await watch(uow, query_id=asked.id, watching=True)
    async with desk.runtime.uow(desk.people["preparer"]) as uow:
        await watch(uow, query_id=asked.id, watching=False)
    await desk.say("controller", asked.id, "Found it")
    assert await desk.told("operations") == ["controller writes: Late trades"]
    assert len(await desk.told("preparer")) == 2  # who asked is told in any case
    async with desk.runtime.uow(desk.people["operations"]) as uow:
        assert [head.id for head in (await list_queries(uow, part=Part.WATCHED)).queries] == [asked.id]


async def test_it_is_passed_on_and_changed_by_whom_it_is_the_business_of(desk: Desk) -> None:
    await desk.run([manual("a")])
    asked = await desk.ask("preparer", "a")

    async def change(who: str, wish: Wish, version: int | None = None) -> int:
        now = (await desk.query(asked.id))["row_version"] if version is None else version
        async with desk.runtime.uow(desk.people[who]) as uow:
            return await change_query(uow, query_id=asked.id, expected_version=now, wish=wish)

    await _refused(change("controller", Wish(priority="urgent")), Forbidden)
    await _refused(change("controller2", Wish(asked=desk.asked("operations"))), Forbidden)
    await change("controller", Wish(asked=desk.asked("controller2")))
    assert await desk.told("controller2") == ["controller passes on to you: Late trades"]
    await _refused(change("preparer", Wish(priority="high"), version=1), StaleVersion)
    await _refused(change("preparer", Wish(priority="soon", due="x")), ValidationFailed)
    await change("preparer", Wish(priority="high", blocking=True, due="2099-01-01T12:00:00+01:00"))
    row = await desk.query(asked.id)
    assert (row["priority"], row["blocking"], row["due_at"].year) == ("high", True, 2099)
    assert (await desk.row("a"))["blocking_queries"] == 1
    await change("operations", Wish(blocking=False, due=""))
    row = await desk.query(asked.id)
    assert (row["due_at"], row["notice_at"]) == (None, None)
    assert (await desk.row("a"))["blocking_queries"] == 0


async def test_who_is_asked_is_reminded_once_and_both_are_told_once_that_it_is_late(desk: Desk) -> None:
    await desk.run([manual("a")])
    asked = await desk.ask("preparer", "a", due="PT4H")
    done = await desk.ask("preparer", "a", due="PT4H", subject="Answered in time")
    await desk.say("controller", done.id, "Yes", "answer")
    due_at = (await desk.query(asked.id))["due_at"]

    async def sweep(ahead: timedelta) -> int:
        async with desk.runtime.uow(SYSTEM, now=due_at + ahead) as uow:
            return await tell_due(uow)

    assert await sweep(-timedelta(days=400)) == 0
    assert await sweep(-timedelta(minutes=1)) == 1
    assert await sweep(-timedelta(minutes=1)) == 0
    assert sorted(await asyncio.gather(sweep(timedelta(0)), sweep(timedelta(0)))) == [0, 1]
    assert await sweep(timedelta(days=1)) == 0
    reminded = [title for title in await desk.told("controller") if title.endswith(": Late trades")]
    assert reminded == ["preparer asks: Late trades", "Due soon: Late trades", "Late: Late trades"]
    assert [title for title in await desk.told("preparer") if title.startswith("Late")] == ["Late: Late trades"]


async def test_a_query_of_another_desk_is_neither_seen_nor_told_of(desk: Desk) -> None:
    await desk.run([manual("a")])
    asked = await desk.ask("preparer", "a", said="What does @em say?")
    await desk.person("em", "preparer", node="EM")
    node = text("UPDATE process_query SET node_id = :node WHERE id = :id")
    run = text("UPDATE process_run SET node_id = :node WHERE id = :id")
    async with desk.runtime.uow(SYSTEM) as uow:
        await uow.execute(node, {"node": desk.nodes["G10"], "id": asked.id})
        await uow.execute(run, {"node": desk.nodes["G10"], "id": (await desk.row("a"))["id"]})
    await _refused(desk.thread("em", asked.id), NotFound)
    await _refused(desk.say("em", asked.id, "Hello"), NotFound)
    async with desk.runtime.uow(desk.people["em"]) as uow:
        assert (await list_queries(uow, part=Part.ALL, standing=Standing.ANY)).queries == ()
        await _refused(threads_of(uow, record=("process_run", (await desk.row("a"))["id"])), NotFound)
    await desk.say("controller", asked.id, "Ask @em")
    assert await desk.told("em") == []
    watching = text("UPDATE process_query_person SET user_id = :em WHERE user_id = :controller")
    async with desk.runtime.uow(SYSTEM) as uow:
        await uow.execute(watching, {"em": desk.people["em"].id, "controller": desk.people["controller"].id})
    await desk.say("controller", asked.id, "For us only")
    assert await desk.told("em") == []  # who does not see it any more is told of nothing


async def test_nothing_is_asked_about_what_has_no_place(desk: Desk) -> None:
    user = desk.people["preparer"].id
    assert user is not None
    new = NewQuery("Who?", "?", desk.asked("controller"))
    with pytest.raises(InvalidRequest, match="belong to no application"):
        async with desk.runtime.uow(desk.people["admin"]) as uow:
            await ask_query(uow, record=("user", user), new=new)


async def test_anything_that_can_be_read_can_be_asked_about(desk: Desk) -> None:
    await desk.run([manual("a")])
    async with desk.runtime.uow(SYSTEM) as uow:
        deal = {"trade_date": "2026-10-30", "currency": "USD", "quantity": "1", "rate": "1"}
        trade = (await create_record(uow, "trade", {**deal, "book": str(desk.nodes["EM-1"])}))["id"]
    await desk.person("em", "preparer", node="EM")
    await desk.person("g10", "preparer", node="G10")

    async def ask(who: str, **more: Any) -> Any:
        async with desk.runtime.uow(desk.people[who]) as uow:
            return await ask_query(uow, record=("trade", trade), new=NewQuery("Rate?", "?", desk.asked("em"), **more))

    asked = await ask("controller", due="PT4H")
    await _refused(ask("g10"), NotFound)
    await _refused(ask("controller", blocking=True), ValidationFailed)
    await _refused(desk.thread("g10", asked.id), NotFound)
    await desk.say("em", asked.id, "1.1", "answer")
    async with desk.runtime.uow(desk.people["controller"]) as uow:
        assert [one.head.asked for one in await threads_of(uow, record=("trade", trade))] == ["em"]


async def test_reading_the_queries_of_a_process_takes_as_many_statements_for_ten_as_for_one(desk: Desk) -> None:
    await desk.run([manual("a")])
    record = ("process_run", (await desk.row("a"))["id"])

    async def statements() -> int:
        with counted(desk.runtime) as sent:
            async with desk.runtime.uow(desk.people["preparer"]) as uow:
                assert await threads_of(uow, record=record)
        return len(sent)

    await desk.ask("preparer", "a")
    await statements()
    once = await statements()
    for number in range(9):
        await desk.ask("controller", "a", of="preparer", subject=f"S{number}")
    assert await statements() <= once
    assert once <= 14
