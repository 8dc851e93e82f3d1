"""A published validation rule refuses bad records over HTTP, one and many, with its message at the field."""

from tests.api.conftest import Api
from tests.service.rules.test_validation import CASES, CHECK
from tests.service.rules.writing import in_force


async def test_a_rule_refuses_one_record_and_many_at_the_field(api: Api) -> None:
    await in_force(api, "TRADE_CHECK", CHECK, tests=CASES, purpose="field_validation", entity="trade")
    bad = api.trade(quantity="9000000", rate="101")
    one = await api.as_("boss").post("/trades", json=bad)
    assert (one.status_code, [(e["path"], e["message"]) for e in one.json()["errors"]]) == (
        422,
        [("quantity", "is too large"), ("rate", "is far off")],
    )
    steps = [{"op": "create", "values": api.trade()}, {"op": "create", "values": bad}]
    many = await api.as_("boss").post("/trades/bulk", json=steps)
    assert (many.status_code, [e["path"] for e in many.json()["errors"]]) == (422, ["1.quantity", "1.rate"])
    kept = await api.as_("boss").post("/trades/bulk", params={"on_error": "continue"}, json=steps)
    assert (kept.json()["succeeded"], kept.json()["failed"]) == (1, 1)
    assert await api.count("SELECT count(*) FROM trade") == 1
    good = await api.made("trades", api.trade())
    changed = await api.as_("boss").patch(
        f"/trades/{good['id']}", json={"quantity": "9000000"}, headers={"if-match": f'"{good["row_version"]}"'}
    )
    assert (changed.status_code, [e["path"] for e in changed.json()["errors"]]) == (422, ["quantity"])


async def test_the_answer_of_creating_a_webhook_has_its_token(api: Api) -> None:
    await api.publish([{"code": "a", "label": "A", "kind": "manual", "owner_role": "preparer"}])
    workflow = (await api.as_("boss").get("/workflows")).json()["items"][0]["id"]
    given = {"code": "T", "label": "T", "workflow": workflow}
    made = await api.made("triggers", {**given, "kind": "webhook", "secret": "a-secret-that-is-long-enough"})
    assert len(made["token"]) >= 32
    assert (await api.as_("boss").get(f"/triggers/{made['id']}")).json()["token"] == made["token"]
    other = await api.made("triggers", {**given, "code": "U", "kind": "event", "entity": "trade", "change": "saved"})
    assert other["token"] is None
