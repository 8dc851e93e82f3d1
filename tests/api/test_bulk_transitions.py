"""Many processes at once, work added to a run, and the end of a delegation, over HTTP."""

from datetime import timedelta

from app.domain.jobs.execute import execute_job_run
from jobs.automation import HOOKS
from tests.api.conftest import Api
from tests.service.workflow.bank import manual, reviewed

PATH = "/process-runs/bulk-transitions"


async def test_a_trial_a_job_and_its_results(api: Api) -> None:
    await api.run([reviewed("a"), reviewed("b")])
    await api.do("submit", "a", "preparer")
    items = [{"id": str(row["id"]), "expected_version": row["row_version"]} for row in [await api.row(c) for c in "ab"]]
    body = {"transition": "approve", "items": items}
    trial = await api.as_("controller").post(PATH, json={**body, "dry_run": True})
    assert (trial.status_code, [verdict["allowed"] for verdict in trial.json()["verdicts"]]) == (200, [True, False])
    assert await api.state("a") == "in_review"
    key = {"idempotency-key": "one"}
    begun = await api.as_("controller").post(PATH, json=body, headers=key)
    again = await api.as_("controller").post(PATH, json=body, headers=key)
    assert (begun.status_code, begun.json()["waiting"]) == (202, 2)
    assert again.json()["job_run"] == begun.json()["job_run"]
    await execute_job_run(api.runtime, begun.json()["job_run"], hooks=HOOKS)
    found = (await api.as_("controller").get(f"{PATH}/{begun.json()['job_run']}")).json()
    assert (found["state"], found["done"], found["refused"], found["waiting"]) == ("succeeded", 1, 1, 0)
    assert [line["state"] for line in found["results"]] == ["done", "refused"]
    assert await api.state("a") == "done"
    refused = await api.as_("auditor").post(PATH, json=body)
    assert refused.status_code == 403
    without = await api.as_("controller").post(PATH, json={"transition": "approve", "items": [{"id": items[0]["id"]}]})
    assert without.status_code == 422


async def test_work_is_added_to_a_run(api: Api) -> None:
    await api.run([manual("a"), manual("b")], [("a", "b")])
    before, after = [str((await api.row(code))["id"]) for code in "ab"]
    body = {"label": "Call the vendor", "owner_role": "preparer", "reason": "The feed looks wrong"}
    body |= {"predecessors": [before], "successors": [after]}  # type: ignore[dict-item]
    added = await api.as_("operations").post(f"/workflow-runs/{api.run_id}/processes", json=body)
    assert (added.status_code, added.json()["state"]) == (201, "blocked")
    assert (await api.as_("preparer").post(f"/workflow-runs/{api.run_id}/processes", json=body)).status_code == 403
    waiting = (await api.as_("preparer").get(f"/process-runs/{after}/waiting-for")).json()
    assert "Call the vendor" in str(waiting)


async def test_a_delegation_is_entered_seen_by_both_and_ended(api: Api) -> None:
    await api.run([reviewed("a")])
    until = (api.runtime.clock.now() + timedelta(days=1)).isoformat()
    delegate = str(api.people["operations"].id)
    values = {"delegate": delegate, "valid_until": until, "reason": "Leave"}
    entered = await api.as_("controller").post("/delegations", json=values)
    assert entered.status_code == 201, entered.text
    for name, number in (("controller", 1), ("operations", 1), ("preparer", 0)):
        assert len((await api.as_(name).get("/delegations")).json()["items"]) == number
    await api.do("submit", "a", "preparer")
    actions = (await api.as_("operations").get(f"/process-runs/{(await api.row('a'))['id']}/actions")).json()
    approve = next(action for action in actions if action["name"] == "approve")
    assert (approve["allowed"], approve["acting_for"]) == (True, "controller")
    path = f"/delegations/{entered.json()['id']}"
    assert (await api.as_("operations").post(f"{path}/revoke")).status_code in (403, 404)
    assert (await api.as_("controller").post(f"{path}/revoke")).status_code == 204
    actions = (await api.as_("operations").get(f"/process-runs/{(await api.row('a'))['id']}/actions")).json()
    assert next(action for action in actions if action["name"] == "approve")["allowed"] is False
    assert (await api.as_("boss").delete(path, headers={"if-match": '"2"'})).status_code == 403
