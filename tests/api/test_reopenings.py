"""Opening finished work again over HTTP: the impact, the request, the second person, and what was signed."""

from typing import Any

import pytest

from models.base import uuid7
from tests.api.conftest import Api
from tests.service.workflow.bank import manual, reviewed


@pytest.fixture
async def signed(api: Api) -> Api:
    """A finished run: `prepare`, which the controller has approved, then `publish`."""
    await api.run([reviewed("prepare"), manual("publish")], [("prepare", "publish")])
    await api.do("submit", "prepare", "preparer", comment="As of noon")
    await api.do("approve", "prepare", "controller")
    await api.do("submit", "publish", "preparer")
    return api


async def ask(api: Api, code: str = "prepare", **more: Any) -> Any:
    path = f"/process-runs/{(await api.row(code))['id']}"
    shown = await api.as_("preparer").get(f"{path}/reopening")
    body = {"reason": "The rate was corrected", "impact_digest": shown.json()["digest"]}
    headers = {"if-match": shown.headers["etag"], **more}
    return await api.as_("preparer").post(f"{path}/reopen", json=body, headers=headers)


async def test_the_impact_names_what_builds_on_it(signed: Api) -> None:
    row = await signed.row("prepare")
    shown = await signed.as_("preparer").get(f"/process-runs/{row['id']}/reopening")
    assert shown.status_code == 200, shown.text
    found = shown.json()
    assert [(each["code"], each["effect"], each["run"]) for each in found["affected"]] == [("publish", "stale", None)]
    assert (found["restates"], found["second_person"], found["row_version"]) == (True, True, row["row_version"])


async def test_it_is_asked_for_once_and_done_when_a_second_person_confirms(signed: Api) -> None:
    answers = [await ask(signed, **{"idempotency-key": "again-1"}) for _ in range(2)]
    assert [answer.json()["state"] for answer in answers] == ["requested", "requested"], answers[0].text
    assert answers[0].content == answers[1].content
    path = f"/process-reopenings/{answers[0].json()['id']}"
    own = await signed.as_("preparer").post(f"{path}/confirm")
    assert own.status_code == 403
    done = await signed.as_("operations").post(f"{path}/confirm")
    assert (done.status_code, done.json()["state"]) == (200, "done"), done.text
    assert done.json()["stale"] == [str((await signed.row("publish"))["id"])]
    again = await signed.as_("operations").post(f"{path}/confirm")
    assert (again.status_code, again.json()["code"]) == (409, "conflict")


async def test_a_request_is_declined_with_a_reason(signed: Api) -> None:
    path = f"/process-reopenings/{(await ask(signed)).json()['id']}/decline"
    without = await signed.as_("operations").post(path, json={"reason": " "})
    assert without.status_code == 422
    declined = await signed.as_("operations").post(path, json={"reason": "It is right"})
    assert declined.json()["state"] == "declined"
    assert await signed.state("prepare") == "done"


async def test_what_was_shown_must_be_named_and_still_hold(signed: Api) -> None:
    path = f"/process-runs/{(await signed.row('prepare'))['id']}/reopen"
    body = {"reason": "x", "impact_digest": "0" * 64}
    assert (await signed.as_("preparer").post(path, json=body)).status_code == 428
    for version in ('"1"', f'"{(await signed.row("prepare"))["row_version"]}"'):
        stale = await signed.as_("preparer").post(path, json=body, headers={"if-match": version})
        assert (stale.status_code, stale.json()["code"]) == (412, "stale_version")


async def test_a_statement_tells_the_run_as_it_was_signed(signed: Api) -> None:
    runs = f"/workflow-runs/{signed.run_id}/statements"
    assert (await signed.as_("preparer").get(runs)).json() == []
    asked = await ask(signed)
    await signed.as_("operations").post(f"/process-reopenings/{asked.json()['id']}/confirm")
    await signed.do("submit", "prepare", "preparer", comment="As of four")
    heads = (await signed.as_("auditor").get(runs)).json()
    assert [head["number"] for head in heads] == [1]
    statement = (await signed.as_("auditor").get(f"{runs}/1")).json()
    assert statement["digest"] == heads[0]["digest"]
    kept = {process["code"]: process for process in statement["processes"]}
    assert (kept["prepare"]["comment"], kept["prepare"]["maker"]) == ("As of noon", "preparer")
    assert [signature["by"] for signature in kept["prepare"]["signatures"]] == ["controller"]
    for path in (f"{runs}/2", f"/workflow-runs/{uuid7()}/statements"):
        assert (await signed.as_("auditor").get(path)).status_code == 404
