"""What one may do, and why."""

from uuid import uuid4

from tests.api.conftest import Api


async def test_everybody_is_told_what_they_may_do(api: Api) -> None:
    me = (await api.as_("g10").get("/me")).json()
    assert (me["name"], me["roles"], me["read_only"]) == ("g10", ["preparer"], False)
    trades = next(resource for resource in me["resources"] if resource["slug"] == "trades")
    assert set(trades["actions"]) == {"read", "create", "update", "export"}
    assert "role-grants" not in {resource["slug"] for resource in me["resources"]}


async def test_a_decision_is_explained_to_the_person_it_is_about(api: Api) -> None:
    record = await api.made("trades", api.trade("EM-1"))
    query = {"action": "update", "entity": "trade", "record_id": record["id"]}
    assert (await api.as_("em").get("/access/explain", params=query)).json()["allowed"] is True
    other = (await api.as_("g10").get("/access/explain", params=query)).json()
    assert (other["allowed"], other["node"]) == (False, None)
    denied = (await api.as_("g10").get("/access/explain", params={"action": "delete", "entity": "trade"})).json()
    assert denied["allowed"] is False
    assert "delete" in denied["verdict"]


async def test_others_are_explained_to_administrators_and_auditors_only(api: Api) -> None:
    query = {"action": "update", "entity": "trade", "user_id": str(api.people["g10"].id)}
    assert (await api.as_("em").get("/access/explain", params=query)).status_code == 403
    told = (await api.as_("auditor").get("/access/explain", params=query)).json()
    assert (told["allowed"], told["user_name"]) == (True, "g10")
    holders = (await api.as_("auditor").get("/access/who-can", params={"action": "create", "entity": "trade"})).json()
    assert {"g10", "em", "preparer"} <= {holder["name"] for holder in holders}


async def test_a_question_about_nothing_is_refused(api: Api) -> None:
    query = {"action": "read", "entity": "nothing", "record_id": str(uuid4())}
    assert (await api.as_("boss").get("/access/explain", params=query)).status_code == 400
    assert (
        await api.as_("boss").get("/access/explain", params={"action": "Read It", "entity": "x"})
    ).status_code == 422


async def test_a_revoked_grant_ends_at_once(api: Api) -> None:
    page = (await api.as_("boss").get("/role-grants", params={"filter": f'{{"user":"{api.people["g10"].id}"}}'})).json()
    path = f"/role-grants/{page['items'][0]['id']}/revoke"
    assert (await api.as_("g10").get("/trades")).status_code == 200
    assert (await api.as_("g10").post(path, json={"reason": "x"})).status_code == 403
    ended = await api.as_("boss").post(path, json={"reason": "Moved to another desk"})
    assert (ended.status_code, ended.content) == (204, b"")
    assert (await api.as_("g10").get("/trades")).status_code == 403
