"""Steps of records on the screens: buttons with reasons, dialogs that keep what was typed, the log, and bulk steps."""

import re
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text

from app.core.actor import Actor
from app.domain.entities.service import create_record
from tests.admin.conftest import TRADE, Browser, Office
from tests.factories import SYSTEM
from tests.service.lifecycles.conftest import CONFIRMATION, publish_lifecycle


class Desk:
    """Trades that follow the lifecycle, made by a maker who also visits."""

    def __init__(self, office: Office, maker: Browser) -> None:
        self.office, self.maker = office, maker

    async def trade(self, book: str = "G10-1", **values: Any) -> UUID:
        world = self.office.world
        actor = Actor(self.maker.user_id, "Ada Byron", grants=(world.grant("preparer"),))
        async with self.office.runtime.uow(actor) as uow:
            given = {**TRADE, "counterparty": "Cassel", "book": str(world.nodes[book]), **values}
            record = await create_record(uow, "trade", given)
        id_: UUID = record["id"]
        return id_

    async def state(self, id_: UUID) -> str:
        async with self.office.runtime.uow(SYSTEM) as uow:
            table = uow.table("trade")
            state: str = await uow.scalar(select(table.c.lifecycle_state).where(table.c.id == id_))
            return state


@pytest.fixture
async def desk(office: Office) -> Desk:
    maker = await office.visitor("preparer", name="Ada Byron")
    await office.visitor("controller")
    await publish_lifecycle(office.world, CONFIRMATION)
    return Desk(office, maker)


async def _step(browser: Browser, id_: UUID, name: str, version: int, **more: str) -> Any:
    return await browser.post(f"/data/trades/{id_}/steps/{name}", {"row_version": str(version), **more})


async def test_a_record_shows_its_state_and_its_steps_and_says_why_one_is_refused(desk: Desk) -> None:
    id_ = await desk.trade()
    page = (await desk.maker.get(f"/data/trades/{id_}")).text
    assert '<span class="st draft">' in page
    assert "Confirmation, version 1" in page
    assert f'action="/data/trades/{id_}/steps/submit"' in page
    checker = await desk.office.visitor("controller")
    refused = (await checker.get(f"/data/trades/{id_}")).text
    assert f'action="/data/trades/{id_}/steps/submit"' not in refused
    assert 'aria-describedby="why-submit"' in refused
    assert "Submit needs the role preparer where" in refused


async def test_the_whole_way_on_the_screens_with_approvals_and_the_log(desk: Desk) -> None:
    id_ = await desk.trade()
    sent = await _step(desk.maker, id_, "submit", 1)
    assert (sent.status_code, sent.headers["location"]) == (303, f"/data/trades/{id_}")
    first = await desk.office.visitor("controller", name="Elena Rossi")
    second = await desk.office.visitor("controller", name="Tomasz Nowak")
    assert "Confirm, 0 of 2 approvals" in (await first.get(f"/data/trades/{id_}")).text
    await _step(first, id_, "confirm", 2, comment="Matches the ticket")
    after = (await first.get(f"/data/trades/{id_}")).text
    assert "Confirm, 1 of 2 approvals: Elena Rossi" in after
    assert "You have approved this already." in after
    assert await desk.state(id_) == "submitted"
    await _step(second, id_, "confirm", 2)
    assert await desk.state(id_) == "confirmed"
    log = (await desk.maker.get(f"/data/trades/{id_}?tab=steps")).text
    found = re.findall(r"<b>(\w+)</b>", log[log.index("s-timeline") :])
    assert found == ["Confirm", "Confirm", "Submit"]
    assert "Matches the ticket" in log
    assert "approved before by Elena Rossi" in log
    assert 'Ada Byron <span class="you">you</span>' in log


async def test_a_refused_step_keeps_what_was_typed_and_opens_its_dialog_again(desk: Desk) -> None:
    id_ = await desk.trade(counterparty=None)
    page = (await desk.maker.get(f"/data/trades/{id_}")).text
    assert 'id="step-submit-counterparty"' in page
    missing = await _step(desk.maker, id_, "submit", 1, counterparty="", comment="For today")
    assert missing.status_code == 422
    assert re.search(r'id="step-submit"[^>]* data-open', missing.text)
    assert "For today</textarea>" in missing.text
    assert "Fill in Counterparty" in missing.text
    foreign = await _step(desk.maker, id_, "submit", 1, counterparty="Cassel", trader="Me")
    assert foreign.status_code == 422
    assert "trader: is not asked for by this step" in foreign.text.lower()
    assert 'value="Cassel"' in foreign.text
    assert 'id="step-submit-trader"' not in foreign.text
    assert await desk.state(id_) == "captured"
    assert (await _step(desk.maker, id_, "submit", 1, counterparty="Cassel")).status_code == 303


async def test_a_step_on_an_old_version_shows_the_record_as_it_is_now(desk: Desk) -> None:
    id_ = await desk.trade()
    await _step(desk.maker, id_, "submit", 1)
    stale = await _step(desk.maker, id_, "cancel", 1)
    assert stale.status_code == 412
    assert "Somebody changed this record meanwhile" in stale.text
    assert '<span class="st waiting">' in stale.text
    assert await desk.state(id_) == "submitted"


async def test_a_step_without_the_right_or_the_token_is_refused_and_one_out_of_scope_not_found(desk: Desk) -> None:
    id_ = await desk.trade()
    checker = await desk.office.visitor("controller")
    assert (await _step(checker, id_, "submit", 1)).status_code == 403
    other = await desk.office.visitor("preparer", node="EM")
    assert (await _step(other, id_, "submit", 1)).status_code == 404
    assert (await other.get(f"/data/trades/{id_}?tab=steps")).status_code == 404
    naked = await desk.maker.client.post(f"/data/trades/{id_}/steps/submit", data={"row_version": "1"})
    assert naked.status_code == 403
    unknown = await _step(desk.maker, id_, "burn", 1)
    assert unknown.status_code == 404
    assert await desk.state(id_) == "captured"


async def test_the_form_is_read_only_where_the_state_lets_nobody_change_the_record(desk: Desk) -> None:
    id_ = await desk.trade()
    assert "Save and continue" in (await desk.maker.get(f"/data/trades/{id_}/edit")).text
    await _step(desk.maker, id_, "submit", 1)
    form = (await desk.maker.get(f"/data/trades/{id_}/edit")).text
    assert "in this state only the role controller changes it" in form
    assert "Save and continue" not in form
    assert 'name="trader"' not in form
    detail = (await desk.maker.get(f"/data/trades/{id_}")).text
    assert "in this state only the role controller changes it" in detail
    refused = await desk.maker.post(f"/data/trades/{id_}/edit", {"row_version": "2", "trader": "X"})
    assert refused.status_code == 409


async def test_a_list_has_a_column_and_a_filter_of_states_and_offers_the_steps(desk: Desk) -> None:
    first, second = await desk.trade(), await desk.trade()
    await _step(desk.maker, first, "submit", 1)
    page = (await desk.maker.get("/data/trades")).text
    assert re.search(r'<span class="st waiting">.*?Submitted</span>', page)
    assert f'data-row="{second}"' in page
    assert 'action="/data/trades/steps/submit"' in page
    assert 'action="/data/trades/steps/confirm"' not in page, "a preparer confirms nothing"
    assert "&#34;label&#34;: &#34;Captured&#34;" in page or '"label": "Captured"' in page
    filtered = await desk.maker.get('/data/trades?filter={"lifecycle_state":{"in":["captured"]}}')
    assert f'data-row="{second}"' in filtered.text
    assert f'data-row="{first}"' not in filtered.text
    assert re.search(
        r"<span>State</span> is any of <b>Captured</b>|<span>State</span> is <b>Captured</b>", filtered.text
    )


async def test_bulk_steps_say_first_what_would_happen_and_then_what_did(desk: Desk) -> None:
    fit, bare, hidden = await desk.trade(), await desk.trade(counterparty=None), await desk.trade("EM-1")
    g10 = await desk.office.visitor("preparer", node="G10")
    ids = [str(id_) for id_ in (fit, bare, hidden)]
    tried = await g10.post("/data/trades/steps/submit", {"ids": ids})
    assert tried.status_code == 200
    assert "Submit: 1 record</button>" in tried.text
    assert re.findall(r"</i>(Possible|Refused|Not found)</span>", tried.text) == ["Possible", "Refused", "Not found"]
    assert "Submit needs Counterparty. Fill in Counterparty." in tried.text
    assert [await desk.state(id_) for id_ in (fit, bare)] == ["captured", "captured"]
    kept = re.findall(r'name="ids" value="([^"]+)"', tried.text)
    assert kept == [str(fit)]
    done = await g10.post("/data/trades/steps/submit", {"ids": kept, "confirmed": "yes", "comment": "All checked"})
    assert re.findall(r"</i>(Done|Refused)</span>", done.text) == ["Done"]
    assert await desk.state(fit) == "submitted"
    assert "All checked" in (await g10.get(f"/data/trades/{fit}?tab=steps")).text


async def test_bulk_steps_take_the_whole_filter_and_ask_for_a_comment_where_the_step_does(desk: Desk) -> None:
    trades = [await desk.trade(), await desk.trade()]
    for id_ in trades:
        await _step(desk.maker, id_, "submit", 1)
    checker = await desk.office.visitor("controller")
    every = {"all": "1", "filter": '{"lifecycle_state":{"eq":"submitted"}}', "q": ""}
    tried = await checker.post("/data/trades/steps/return", every)
    assert "Return: 2 records</button>" in tried.text
    ids = re.findall(r'name="ids" value="([^"]+)"', tried.text)
    silent = await checker.post("/data/trades/steps/return", {"ids": ids, "confirmed": "yes"})
    assert silent.status_code == 422
    assert "Say why." in silent.text
    done = await checker.post("/data/trades/steps/return", {"ids": ids, "confirmed": "yes", "comment": "Wrong book"})
    assert re.findall(r"</i>(Done|Refused)</span>", done.text) == ["Done", "Done"]
    assert [await desk.state(id_) for id_ in trades] == ["captured", "captured"]


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        ({}, 400, "No records are chosen"),
        ({"ids": "nonsense"}, 400, "No records are chosen"),
        ({"all": "1", "filter": "{"}, 400, "The filter cannot be read"),
        ({"all": "1", "filter": '{"nothing":1}'}, 400, "nothing"),
    ],
)
async def test_bulk_steps_that_make_no_sense_say_what_to_do(
    desk: Desk, sent: dict[str, str], status: int, said: str
) -> None:
    answer = await desk.maker.post("/data/trades/steps/submit", sent)
    assert (answer.status_code, said in answer.text) == (status, True)


async def test_bulk_steps_need_the_token_and_a_step_that_there_is(desk: Desk) -> None:
    id_ = await desk.trade()
    naked = await desk.maker.client.post("/data/trades/steps/submit", data={"ids": str(id_), "confirmed": "yes"})
    assert naked.status_code == 403
    assert (await desk.maker.post("/data/trades/steps/burn", {"ids": str(id_)})).status_code == 404
    assert (await desk.maker.post("/data/calendars/steps/submit", {"ids": str(id_)})).status_code in (404, 409)
    stranger = await desk.office.visitor("auditor")
    refused = await stranger.post("/data/trades/steps/submit", {"ids": str(id_), "confirmed": "yes"})
    assert re.findall(r"</i>(Done|Refused)</span>", refused.text) == ["Refused"]
    assert await desk.state(id_) == "captured"


async def test_a_record_whose_lifecycle_does_not_fit_any_more_is_still_shown(desk: Desk) -> None:
    id_ = await desk.trade()
    async with desk.office.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("UPDATE lifecycle_transition SET guard = '{\"gone\": 1}' WHERE name = 'submit'"))
    desk.office.runtime.services["lifecycles"].versions.clear()
    for tail in ("", "?tab=steps", "?tab=history"):
        page = await desk.maker.get(f"/data/trades/{id_}{tail}")
        assert page.status_code == 200
        assert "cannot be read: it does not fit trade" in page.text
    assert (await desk.maker.get("/data/trades")).status_code == 200
