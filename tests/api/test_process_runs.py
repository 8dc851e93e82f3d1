"""The steps of a process over HTTP: done by hand from start to the end of the run."""

import asyncio
from typing import Any

import pytest

from tests.api.conftest import Api, statements
from tests.service.workflow.bank import manual


@pytest.fixture
async def run(api: Api) -> Api:
    """A run of two processes: `prepare`, which the controller approves, then `publish`."""
    await api.run(
        [manual("prepare", approval_levels=[{"level": 1, "role": "controller"}]), manual("publish")],
        [("prepare", "publish")],
    )
    return api


async def do(api: Api, who: str, name: str, code: str, **body: Any) -> Any:
    row = await api.row(code)
    values = {"expected_version": row["row_version"], **body}
    return await api.as_(who).post(f"/process-runs/{row['id']}/transitions/{name}", json=values)


async def test_a_run_is_done_by_hand_and_the_maker_does_not_check(run: Api) -> None:
    blocked = await run.row("publish")
    waiting = (await run.as_("preparer").get(f"/process-runs/{blocked['id']}/waiting-for")).json()
    assert [open_["code"] for open_ in waiting["predecessors"]] == ["prepare"]

    assert (await do(run, "preparer", "start", "prepare")).json()["to_state"] == "in_progress"
    submitted = await do(run, "preparer", "submit", "prepare", comment="Checked")
    assert (submitted.status_code, submitted.json()["to_state"]) == (200, "in_review")
    own = await do(run, "preparer", "approve", "prepare")
    assert own.status_code == 403
    without_reason = await do(run, "controller", "reject", "prepare")
    assert [p["path"] for p in without_reason.json()["errors"]] == ["reason"]
    rejected = await do(run, "controller", "reject", "prepare", reason="One rate is stale")
    assert (rejected.json()["to_state"], rejected.json()["round"]) == ("in_progress", 2)
    await do(run, "preparer", "submit", "prepare", comment="Again")
    approved = await do(run, "controller", "approve", "prepare")
    assert [released["code"] for released in approved.json()["released"]] == ["publish"]
    assert approved.headers["etag"] == f'"{(await run.row("prepare"))["row_version"]}"'
    await do(run, "preparer", "start", "publish")
    assert (await do(run, "preparer", "submit", "publish")).json()["run_finished"] is True


async def test_a_step_that_is_not_possible_says_which_guard_refuses_and_what_would_satisfy_it(run: Api) -> None:
    refused = await do(run, "preparer", "start", "publish")
    assert (refused.status_code, refused.json()["code"]) == (409, "transition_refused")
    assert refused.json()["guard"]
    stale = await do(run, "preparer", "start", "prepare", expected_version=99)
    assert (stale.status_code, stale.json()["code"]) == (412, "stale_version")
    unknown = await do(run, "preparer", "fly", "prepare")
    assert unknown.status_code == 404


async def test_of_twenty_approvals_at_once_one_is_made(run: Api) -> None:
    await do(run, "preparer", "start", "prepare")
    await do(run, "preparer", "submit", "prepare")
    await run.caller("controller2")
    row = await run.row("prepare")
    path, body = f"/process-runs/{row['id']}/transitions/approve", {"expected_version": row["row_version"]}
    answers = await asyncio.gather(
        *(run.as_(("controller", "controller2")[n % 2]).post(path, json=body) for n in range(20))
    )
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 19


async def test_the_same_step_sent_again_under_its_key_is_done_once(run: Api) -> None:
    row = await run.row("prepare")
    path, body = f"/process-runs/{row['id']}/transitions/start", {"expected_version": row["row_version"]}
    answers = [
        await run.as_("preparer").post(path, json=body, headers={"idempotency-key": "start-1"}) for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content


async def test_the_actions_say_who_may_do_what(run: Api) -> None:
    row = await run.row("prepare")
    for who, allowed in (("preparer", True), ("auditor", False)):
        actions = {a["name"]: a for a in (await run.as_(who).get(f"/process-runs/{row['id']}/actions")).json()}
        assert actions["start"]["allowed"] is allowed
        assert bool(actions["start"]["refusal"]) is not allowed


async def test_a_step_takes_seven_statements_at_most_signing_in_included(run: Api) -> None:
    row = await run.row("prepare")
    with statements(run.runtime) as seen:
        answer = await run.as_("preparer").post(
            f"/process-runs/{row['id']}/transitions/start", json={"expected_version": row["row_version"]}
        )
    assert answer.status_code == 200
    assert len(seen) <= 7, seen


async def test_a_run_is_begun_once_for_its_date_and_held_resumed_and_cancelled(api: Api) -> None:
    await api.publish([manual("prepare")], code="CLOSE")
    await api.caller("lead", "operations")
    body = {"workflow": "CLOSE", "business_date": "2026-10-30"}
    begun = await api.as_("lead").post("/workflow-runs", json=body)
    assert begun.status_code == 201, begun.text
    again = await api.as_("lead").post("/workflow-runs", json=body)
    assert (again.status_code, again.json()["id"]) == (200, begun.json()["id"])
    path = f"/workflow-runs/{begun.json()['id']}/transitions"
    held = await api.as_("lead").post(
        f"{path}/hold", json={"expected_version": begun.json()["row_version"], "reason": "Feed is late"}
    )
    assert held.status_code == 200, held.text
    resumed = await api.as_("lead").post(f"{path}/resume", json={"expected_version": held.json()["row_version"]})
    assert resumed.status_code == 200, resumed.text
    version = {"expected_version": resumed.json()["row_version"]}
    assert (await api.as_("lead").post(f"{path}/cancel", json=version)).status_code == 422
    cancelled = await api.as_("lead").post(f"{path}/cancel", json=version | {"reason": "Holiday"})
    assert cancelled.status_code == 200
    assert (await api.as_("lead").get(f"/workflow-runs/{begun.json()['id']}")).json()["state"] == "cancelled"


async def test_a_desk_cannot_touch_the_process_of_another(api: Api) -> None:
    await api.run([manual("ours", node="G10-1"), manual("theirs", node="EM-1")])
    row = await api.row("theirs")
    for method, rest in (("GET", ""), ("GET", "/actions"), ("GET", "/waiting-for"), ("POST", "/transitions/start")):
        answer = await api.as_("g10").request(
            method, f"/process-runs/{row['id']}{rest}", json={"expected_version": row["row_version"]}
        )
        assert answer.status_code == 404, (rest, answer.text)
    assert await api.state("theirs") == "ready"
