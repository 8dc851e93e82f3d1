"""The bell: a person's own notifications, newest first, and nobody else's."""

import pytest

from app.core.actor import ANONYMOUS
from app.core.errors import Forbidden
from app.domain.notify.inbox import latest, mark_all_read, mark_read, unread_count
from app.domain.notify.rules import Kind
from tests.service.notify.desk import Desk
from tests.service.sla.close import WARN
from tests.service.workflow.bank import manual


async def test_a_person_sees_their_own_newest_first_and_marks_them(desk: Desk) -> None:
    await desk.run([manual("load"), manual("check")], [("load", "check")])
    await desk.do("submit", "load", "preparer2")
    async with desk.runtime.uow(desk.people["preparer"]) as uow:
        items = await latest(uow)
        assert [(item.title, item.kind, item.read_at) for item in items] == [
            ("Ready for you: Check", Kind.ASSIGNMENT, None),
            ("Ready for you: Load", Kind.ASSIGNMENT, None),
        ]
        assert items[0].link == f"/processes/{(await desk.row('check'))['id']}"
        assert await unread_count(uow) == 2
        assert await mark_read(uow, ids=[items[0].id]) == 1
        assert await mark_read(uow, ids=[items[0].id]) == 0
        assert await unread_count(uow) == 1
        assert [item.title for item in await latest(uow, limit=1)] == ["Ready for you: Check"]


async def test_marking_all_leaves_other_people_alone(desk: Desk) -> None:
    await desk.run([manual("load")])
    async with desk.runtime.uow(desk.people["preparer"]) as uow:
        mine = [item.id for item in await latest(uow)]
    async with desk.runtime.uow(desk.people["preparer2"]) as uow:
        assert await mark_read(uow, ids=mine) == 0
        assert await mark_all_read(uow) == 1
    async with desk.runtime.uow(desk.people["preparer"]) as uow:
        assert await unread_count(uow) == 1


async def test_somebody_who_is_not_signed_in_has_no_inbox(desk: Desk) -> None:
    for command in (latest, unread_count, mark_all_read):
        with pytest.raises(Forbidden):
            async with desk.runtime.uow(ANONYMOUS) as uow:
                await command(uow)


async def test_open_pages_of_the_recipients_and_of_the_run_are_told_to_refresh(desk: Desk) -> None:
    await desk.run([manual("load", node="G10")])
    heard = await desk.listen()
    await desk.at(WARN)
    await desk.sweep_now()
    topics = {topic for payload in await heard() for topic in payload.split(",")}
    assert f"user:{desk.people['g10'].id}" in topics
    assert f"user:{desk.people['em'].id}" not in topics
    assert {f"run:{desk.run_id}", f"process_run:{(await desk.row('load'))['id']}"} <= topics
