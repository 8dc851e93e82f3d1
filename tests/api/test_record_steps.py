"""Steps of records over HTTP: what is offered and why not, one step, one for many, and administering lifecycles."""

from typing import Any

import pytest

from app.domain.lifecycles.publishing import publish, save_draft
from models.lifecycle import LifecycleDef
from tests.api.conftest import V1, Api, statements
from tests.factories import SYSTEM

VERIFYING: dict[str, Any] = {
    "code": "verifying",
    "label": "Verifying",
    "states": [
        {"name": "captured", "category": "draft"},
        {"name": "checked", "category": "waiting", "editable_by": ["controller"]},
        {"name": "settled", "category": "final", "editable_by": []},
    ],
    "transitions": [
        {"name": "submit", "from": "captured", "to": "checked", "roles": ["preparer"], "tone": "primary",
         "require_fields": ["counterparty"], "guard": {"quantity": {"gt": "0"}}},
        {"name": "settle", "from": "checked", "to": "settled", "roles": ["controller"],
         "approvals": {"count": 2, "distinct_from": ["creator"]}},
        {"name": "return", "from": "checked", "to": "captured", "roles": ["controller"], "require_comment": True},
    ],
}  # fmt: skip


@pytest.fixture
async def bank(api: Api) -> Api:
    async with api.runtime.uow(SYSTEM) as uow:
        version = await save_draft(uow, entity="trade", definition=LifecycleDef.model_validate(VERIFYING))
        await publish(uow, version_id=version)
    await api.runtime.reload_lifecycles()
    await api.runtime.reload_policy()
    await api.caller("controller2")
    return api


async def _steps(api: Api, who: str, trade: dict[str, Any]) -> dict[str, Any]:
    answer = await api.as_(who).get(f"/trades/{trade['id']}/transitions")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def _take(api: Api, who: str, trade: dict[str, Any], name: str, version: int, **body: Any) -> Any:
    headers = {"if-match": f'"{version}"'}
    return await api.as_(who).post(f"/trades/{trade['id']}/transitions/{name}", json=body, headers=headers)


def _offer(steps: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in steps["transitions"] if each["name"] == name)
    return found


async def test_a_record_says_what_it_offers_to_whom_what_it_takes_and_why_not(bank: Api) -> None:
    trade = await bank.made("trades", bank.trade(), by="preparer")
    steps = await _steps(bank, "preparer", trade)
    assert (steps["state"]["label"], steps["lifecycle"]) == (
        "Captured",
        {"code": "verifying", "label": "Verifying", "version": 1},
    )
    submit = _offer(steps, "submit")
    assert (submit["allowed"], submit["missing_fields"], submit["tone"]) == (True, ["counterparty"], "primary")
    other = _offer(await _steps(bank, "controller", trade), "submit")
    assert (other["allowed"], other["guard"], other["satisfy"]) == (False, "role", "Somebody who has it does it.")
    assert "needs the role preparer" in other["refusal"]
    sold = await bank.made("trades", bank.trade(quantity="-5"), by="preparer")
    guarded = _offer(await _steps(bank, "preparer", sold), "submit")
    assert guarded["guard"] == "guard"
    assert "Quantity" in guarded["satisfy"]


async def test_the_way_of_a_trade_with_two_approvals_is_in_its_log_with_who_and_why(bank: Api) -> None:
    trade = await bank.made("trades", bank.trade(), by="preparer")
    done = await _take(bank, "preparer", trade, "submit", 1, values={"counterparty": "Cassel"})
    assert (done.status_code, done.json()["to_state"], done.headers["etag"]) == (200, "checked", '"3"')
    assert (await _take(bank, "controller", trade, "return", 3)).json()["errors"][0]["path"] == "comment"
    half = await _take(bank, "controller", trade, "settle", 3, comment="Matches the ticket")
    assert (half.json()["to_state"], half.json()["waiting_for"]) == ("checked", 1)
    given = _offer(await _steps(bank, "controller2", trade), "settle")["approvals"]
    assert (given["needed"], [each["name"] for each in given["given"]]) == (2, ["controller"])
    mine = _offer(await _steps(bank, "controller", trade), "settle")
    assert (mine["allowed"], mine["guard"]) == (False, "approved_already")
    assert (await _take(bank, "controller2", trade, "settle", 3)).json()["to_state"] == "settled"
    after = await _steps(bank, "preparer", trade)
    assert after["transitions"] == []
    assert [(each["kind"], each["transition"], each["actor_name"], each["comment"]) for each in after["log"]] == [
        ("step", "settle", "controller2", None),
        ("approval", "settle", "controller", "Matches the ticket"),
        ("step", "submit", "preparer", None),
    ]
    assert after["log"][0]["approvers"] == ["controller"]


async def test_the_log_is_read_in_pages(bank: Api) -> None:
    trade = await bank.made("trades", bank.trade(counterparty="Cassel"), by="preparer")
    version = 1
    for _ in range(2):
        await _take(bank, "preparer", trade, "submit", version)
        await _take(bank, "controller", trade, "return", version + 1, comment="Again")
        version += 2
    seen, cursor = [], ""
    while True:
        parameters = {"limit": "3", **({"cursor": cursor} if cursor else {})}
        page = (await bank.as_("preparer").get(f"/trades/{trade['id']}/transitions", params=parameters)).json()
        seen += [entry["id"] for entry in page["log"]]
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert len(seen) == len(set(seen)) == 4
    bad = await bank.as_("preparer").get(f"/trades/{trade['id']}/transitions", params={"cursor": "yesterday"})
    assert (bad.status_code, bad.json()["detail"]) == (400, "cursor: send the next_cursor of the page before")


async def test_a_step_needs_the_version_and_is_done_once_under_one_key(bank: Api) -> None:
    trade = await bank.made("trades", bank.trade(counterparty="Cassel"), by="preparer")
    path = f"/trades/{trade['id']}/transitions/submit"
    assert (await bank.as_("preparer").post(path, json={})).status_code == 428
    stale = await _take(bank, "preparer", trade, "submit", 9)
    assert (stale.status_code, stale.json()["code"]) == (412, "stale_version")
    headers = {"if-match": '"1"', "idempotency-key": "once"}
    first = await bank.as_("preparer").post(path, json={}, headers=headers)
    again = await bank.as_("preparer").post(path, json={}, headers=headers)
    assert (first.status_code, again.status_code, again.json()) == (200, 200, first.json())
    assert len((await _steps(bank, "preparer", trade))["log"]) == 1


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"note": "x"}, "note"),
        ({"values": []}, "values"),
        ({"comment": 5}, "comment"),
        ({"comment": "x" * 4_001}, "comment"),
        ({"comment": "a\x00b"}, "comment"),
        ({"values": {"trader": "X"}}, "trader"),
        ({"values": {"rate": 1.1234567890123456789}}, "values.rate"),
    ],
)
async def test_a_body_that_does_not_fit_is_told_where(bank: Api, body: dict[str, Any], path: str) -> None:
    trade = await bank.made("trades", bank.trade(counterparty="Cassel"), by="preparer")
    answer = await _take(bank, "preparer", trade, "submit", 1, **body)
    assert (answer.status_code, [each["path"] for each in answer.json()["errors"]]) == (422, [path])


async def test_entities_without_a_lifecycle_have_no_such_address_and_others_no_such_step(bank: Api) -> None:
    trade = await bank.made("trades", bank.trade(), by="preparer")
    nowhere = f"/calendars/{trade['id']}/transitions"
    assert (await bank.as_("preparer").get(nowhere)).status_code == 404
    unknown = await _take(bank, "preparer", trade, "burn", 1)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    assert (await bank.as_("em").get("/trades/x/transitions")).status_code == 404
    other_desk = await bank.as_("em").get(f"/trades/{trade['id']}/transitions")
    assert other_desk.status_code == 404


async def test_a_record_from_before_the_lifecycle_says_so(api: Api) -> None:
    trade = await api.made("trades", api.trade(), by="preparer")
    answer = await api.as_("preparer").get(f"/trades/{trade['id']}/transitions")
    assert answer.status_code == 409
    assert "follows no lifecycle" in answer.json()["detail"]


async def test_many_records_are_tried_without_doing_anything_and_then_each_has_its_own_result(bank: Api) -> None:
    fit = await bank.made("trades", bank.trade(counterparty="Cassel"), by="preparer")
    bare = await bank.made("trades", bank.trade(), by="preparer")
    hidden = await bank.made("trades", bank.trade("EM-1", counterparty="Cassel"), by="preparer")
    ids = [fit["id"], bare["id"], hidden["id"]]
    address = "/trades/transitions/submit/bulk"
    body = {"ids": ids, "dry_run": True, "versions": {fit["id"]: 1}}
    tried = (await bank.as_("g10").post(address, json=body)).json()
    assert (tried["dry_run"], tried["succeeded"], tried["refused"]) == (True, 1, 2)
    expected = [("done", None), ("refused", "fields"), ("not_found", None)]
    assert [(row["result"], row["guard"]) for row in tried["results"]] == expected
    assert tried["results"][0]["to_state"] == "Checked"
    assert (await _steps(bank, "preparer", fit))["state"]["name"] == "captured"
    taken = (await bank.as_("g10").post(address, json={"ids": ids})).json()
    assert [(row["result"], row["guard"]) for row in taken["results"]] == expected
    assert [(await _steps(bank, "preparer", each))["state"]["name"] for each in (fit, bare, hidden)] == [
        "checked", "captured", "captured",
    ]  # fmt: skip
    again = (await bank.as_("g10").post(address, json={"ids": ids[:1], "versions": {fit["id"]: 1}})).json()
    assert [row["result"] for row in again["results"]] == ["stale"]
    unknown = await bank.as_("g10").post("/trades/transitions/burn/bulk", json={"ids": ids})
    assert (unknown.status_code, unknown.json()["detail"]) == (404, "No lifecycle of trades has a step 'burn'.")


async def test_a_hundred_records_take_as_many_statements_as_one(bank: Api) -> None:
    created = await bank.as_("preparer").post(
        "/trades/bulk", json=[{"op": "create", "values": bank.trade(counterparty="Cassel")} for _ in range(101)]
    )
    ids = [row["id"] for row in created.json()["results"]]
    counts = []
    for some in (ids[:1], ids[1:]):
        with statements(bank.runtime) as seen:
            answer = await bank.as_("preparer").post("/trades/transitions/submit/bulk", json={"ids": some})
        assert answer.json()["succeeded"] == len(some)
        counts.append(len(seen))
    assert counts[0] == counts[1]


async def test_a_lifecycle_is_drafted_checked_published_and_discarded_by_administrators_only(bank: Api) -> None:
    boss = bank.as_("boss")
    mine = {"filter": '{"code": "verifying"}'}
    lifecycle = (await boss.get("/lifecycles", params=mine)).json()["items"][0]
    await bank.made("trades", bank.trade(), by="preparer")
    assert (await bank.as_("preparer").post(f"/lifecycles/{lifecycle['id']}/draft")).status_code == 403
    draft = await boss.post(f"/lifecycles/{lifecycle['id']}/draft")
    assert (draft.status_code, draft.json()["number"], draft.json()["state"]) == (201, 2, "draft")
    path = f"{V1}/lifecycle-versions/{draft.json()['id']}"
    assert draft.headers["location"] == path
    again = await boss.post(f"/lifecycles/{lifecycle['id']}/draft")
    assert (again.status_code, again.json()["detail"]) == (
        409,
        "Verifying has a draft already; publish or discard it first.",
    )
    path = path.removeprefix(V1)
    checked = (await boss.post(f"{path}/check")).json()
    assert (checked["publishable"], checked["without"]) == (True, 0)
    assert checked["pinned"] == [
        {"version": 1, "version_state": "published", "state": "captured", "label": "Captured", "count": 1}
    ]
    other_desk = (await bank.as_("em").post(f"{path}/check")).json()
    assert other_desk["pinned"] == []
    states = [{**line, "editing": "anyone", "editing_roles": None} for line in draft.json()["states"]]
    broken = [*states, {"name": "lost", "label": "Lost", "category": "active", "editing": "anyone"}]
    patched = await boss.patch(path, json={"states": broken}, headers={"if-match": '"1"'})
    assert patched.status_code == 200, patched.text
    findings = (await boss.post(f"{path}/check")).json()
    assert [(each["place"], each["rule"]) for each in findings["findings"] if each["severity"] == "error"] == [
        ("lost", "unreachable"),
        ("lost", "dead_end"),
    ]
    refused = await boss.post(f"{path}/publish", json={"notes": "x"})
    assert (refused.status_code, [each["path"] for each in refused.json()["errors"]]) == (422, ["lost", "lost"])
    for who, status in (("preparer", 403), ("boss", 204), ("boss", 404)):
        assert (await bank.as_(who).post(f"{path}/discard")).status_code == status
    second = (await boss.post(f"/lifecycles/{lifecycle['id']}/draft")).json()
    published = await boss.post(f"/lifecycle-versions/{second['id']}/publish", json={})
    assert (published.status_code, len(published.json()["digest"])) == (200, 64)
    late = await boss.post(f"/lifecycle-versions/{second['id']}/discard")
    assert late.status_code == 409
