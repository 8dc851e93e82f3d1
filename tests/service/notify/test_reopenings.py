"""Who is told that work is to be opened again, or that what theirs is built on was."""

from app.domain.workflow.reopening import confirm_reopening, impact_of, reopen
from tests.service.notify.desk import Desk
from tests.service.workflow.bank import manual, reviewed


async def _reopen(desk: Desk, code: str, who: str, reason: str) -> str:
    row = await desk.row(code)
    async with desk.runtime.uow(desk.people[who]) as uow:
        shown = await impact_of(uow, process_run_id=row["id"])
        given = {"process_run_id": row["id"], "expected_version": row["row_version"]}
        done = await reopen(uow, **given, reason=reason, impact_digest=shown.digest)
    if done.state == "requested":
        async with desk.runtime.uow(desk.people["operations"]) as uow:
            await confirm_reopening(uow, reopening_id=done.id)
    return done.state


async def test_makers_of_what_is_in_doubt_and_of_what_is_under_way_are_told_why(desk: Desk) -> None:
    await desk.person("preparer3", "preparer")
    await desk.run([manual("a"), manual("b"), manual("c"), manual("d")], [("a", "b"), ("a", "c"), ("b", "d")])
    await desk.do("submit", "a", "preparer", comment="a")
    await desk.do("submit", "b", "preparer2", comment="b")
    await desk.do("start", "c", "preparer3")
    before = await desk.told("warning")
    assert await _reopen(desk, "a", "preparer", "Wrong rate.") == "done"
    told = await desk.told("warning")
    assert before == {}
    assert told == {"preparer2": ["In doubt: B"], "preparer3": ["What you build on has changed: C"]}
    bodies = await desk.rows("SELECT body FROM notification WHERE kind = 'warning'")
    assert all(row["body"].startswith("“A” was opened again: Wrong rate.\n") for row in bodies)


async def test_those_who_may_confirm_a_request_are_told_and_who_asked_is_not(desk: Desk) -> None:
    await desk.run([reviewed("a")])
    await desk.do("submit", "a", "preparer")
    await desk.do("approve", "a", "controller")
    assert await _reopen(desk, "a", "desk_head", "Wrong rate") == "requested"
    asked = {name: titles for name, titles in (await desk.told("assignment")).items()
             if "Asks for your confirmation: A" in titles}  # fmt: skip
    assert {"controller", "controller2", "operations"} <= asked.keys()
    assert asked.keys() & {"desk_head", "preparer", "auditor"} == set()
