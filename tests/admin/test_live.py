"""Live pages: who may hear of what, and that a change is heard."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from starlette.requests import Request

from admin_views.auth import identify
from admin_views.live import allowed_topics, live_page
from admin_views.visit import Visit
from app.core.db import asyncpg_dsn
from app.core.listen import EVERYTHING, Listener
from app.core.touched import KEEP_SECONDS, Touched
from app.core.uow import LIVE_CHANNEL
from app.domain.access.sessions import end_sessions
from app.domain.entities.service import update_record
from tests.admin.conftest import Browser, MakeTrade, Office
from tests.factories import SYSTEM, add_row


async def test_topics_that_a_person_may_not_hear_are_left_out(office: Office, trade: MakeTrade) -> None:
    seen, hidden = await trade("G10-1"), await trade("EM-1")
    actor = office.world.actor("preparer", node="G10")
    asked = [
        "entity:trade", "entity:policy_line", "entity:nothing", f"trade:{seen}", f"trade:{hidden}", f"user:{actor.id}",
        f"user:{uuid4()}", "trade:x", "nothing:1", "", "user:",
    ]  # fmt: skip
    async with office.runtime.uow(actor) as uow:
        with office.statements() as statements:
            allowed = await allowed_topics(uow, asked)
    assert set(allowed) == {"entity:trade", f"trade:{seen}", f"user:{actor.id}"}
    assert len(statements) == 1
    async with office.runtime.uow(actor) as uow:
        assert await allowed_topics(uow, ["notifications"]) == {f"user:{actor.id}": "notifications"}


@pytest.fixture
async def listener(office: Office) -> AsyncIterator[Listener]:
    listener = Listener(asyncpg_dsn(office.runtime.engine))
    await listener.start()
    office.app.state.listener, office.app.state.touched = listener, Touched()
    listener.subscribe(LIVE_CHANNEL, office.app.state.touched.hear)
    yield listener
    await listener.stop()


async def stream(office: Office, browser: Browser, topics: str) -> Any:
    """The events that the person's page would get, as the response makes them."""
    cookie = f"steps_session={browser.client.cookies['steps_session']}"
    scope = {
        "type": "http", "method": "GET", "path": "/live", "query_string": f"topics={topics}".encode(),
        "headers": [(b"cookie", cookie.encode())], "client": ("127.0.0.1", 1), "state": {},
    }  # fmt: skip
    request = Request(scope)
    visitor = await identify(office.runtime, request)
    assert visitor is not None
    response: Any = await live_page(Visit(request, office.runtime, visitor, office.site))
    return response.body_iterator


async def test_a_change_is_heard_by_those_who_may_see_the_record(
    office: Office, trade: MakeTrade, listener: Listener
) -> None:
    id_ = await trade("G10-1")
    browser = await office.visitor("preparer", node="G10")
    events = await stream(office, browser, f"trade:{id_},entity:trade,entity:policy_line")
    first = await anext(events)
    assert first.comment == "connected"
    await listener.ready()
    async with office.runtime.uow(office.world.actor("preparer")) as uow:
        await update_record(uow, "trade", id_, {"note": "x"}, expected_version=1)
    heard = {(await asyncio.wait_for(anext(events), 10)).event for _ in range(2)}
    assert heard == {f"trade:{id_}", "entity:trade"}
    await events.aclose()
    assert listener._callbacks[LIVE_CHANNEL] == [office.app.state.touched.hear]


async def test_what_changed_between_the_making_of_the_page_and_its_connection_is_heard(
    office: Office, trade: MakeTrade, listener: Listener
) -> None:
    id_ = await trade("G10-1")
    browser = await office.visitor("preparer", node="G10")
    await listener.ready()
    before = int(time.time() * 1_000)
    async with office.runtime.uow(office.world.actor("preparer")) as uow:
        await update_record(uow, "trade", id_, {"note": "x"}, expected_version=1)
    for _ in range(100):
        if f"trade:{id_}" in office.app.state.touched.since(before / 1_000):
            break
        await asyncio.sleep(0.05)
    events = await stream(office, browser, f"trade:{id_},entity:policy_line&since={before}")
    assert (await anext(events)).comment == "connected"
    assert (await asyncio.wait_for(anext(events), 10)).event == f"trade:{id_}"
    await events.aclose()
    late = await stream(office, browser, f"trade:{id_}&since={int(time.time() * 1_000) + 60_000}")
    await anext(late)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(late), 0.3)
    await late.aclose()


def test_what_was_touched_is_remembered_for_a_while_and_longer_ago_is_everything() -> None:
    now = [1_000.0]
    touched = Touched(lambda: now[0])
    assert touched.since(1_000.0) == {EVERYTHING}
    now[0] = 1_010.0
    touched.hear("trade:1,entity:trade")
    now[0] = 1_020.0
    touched.hear("trade:2")
    assert touched.since(1_005.0) == {"trade:1", "entity:trade", "trade:2"}
    assert touched.since(1_015.0) == {"trade:2"}
    assert touched.since(1_021.0) == set()
    now[0] += KEEP_SECONDS - 5
    touched.hear("trade:3")
    assert touched.since(1_005.0) == {EVERYTHING}
    assert touched.since(1_015.0) == {"trade:2", "trade:3"}


async def test_the_stream_ends_with_the_session(
    office: Office, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("admin_views.live.KEEP_ALIVE_SECONDS", 0.05)
    browser = await office.visitor("preparer")
    events = await stream(office, browser, "entity:trade")
    await anext(events)
    async with office.runtime.uow(SYSTEM) as uow:
        await end_sessions(uow, user_id=browser.user_id)
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(anext(events), 10)


async def test_without_a_listener_the_page_says_so_and_asks_for_nothing(office: Office) -> None:
    browser = await office.visitor("preparer")
    answer = await browser.get("/live?topics=entity:trade", accept="text/event-stream")
    assert answer.status_code == 503
    assert 'data-live-enabled="no"' in (await browser.get("/data/trades")).text


async def test_the_bell_shows_ones_own_messages_and_marks_them_read(office: Office) -> None:
    browser, other = await office.visitor("preparer"), await office.visitor("preparer")
    async with office.runtime.uow(SYSTEM) as uow:
        for person, title, link in ((browser, "Yours <b>", "/data/trades"), (other, "Theirs", "//evil.test")):
            await add_row(
                uow, "notification", user_id=person.user_id, kind="assignment", title=title, link=link, at=uow.now,
                dedup_key=title, in_app=True,
            )  # fmt: skip
    page = (await browser.get("/notifications/panel")).text
    assert '<a href="/data/trades">Yours &lt;b&gt;</a>' in page
    assert "Theirs" not in page
    assert 'data-unread="1"' in page
    assert "evil" not in (await other.get("/notifications/panel")).text
    assert 'aria-label="Notifications, 1 unread"' in (await browser.get("/data/trades")).text
    assert 'data-unread="0"' in (await browser.post("/notifications/read")).text
    assert 'aria-label="Notifications, 0 unread"' in (await browser.get("/data/trades")).text
