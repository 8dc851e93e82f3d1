"""Versions of workflows over REST: a draft is made, changed, checked, published, compared; runs are taken over."""

from typing import Any
from uuid import UUID

import pytest

from app.domain.jobs.execute import execute_job_run
from app.domain.workflow.runs import create_run
from jobs.automation import HOOKS
from tests.api.conftest import Api
from tests.factories import SYSTEM
from tests.service.workflow.bank import DAY, DUE, manual

VERSIONS = "/workflow-versions"


@pytest.fixture
async def published(api: Api) -> UUID:
    return await api.publish([manual("a"), manual("b")], [("a", "b")])


async def _draft(api: Api, version: UUID) -> str:
    answer = await api.as_("boss").post(f"{VERSIONS}/drafts", json={"version_id": str(version)})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def _post(api: Api, path: str, body: dict[str, Any] | None = None, status: int = 200) -> dict[str, Any]:
    answer = await api.as_("boss").post(f"{VERSIONS}/{path}", json=body or {})
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json() if answer.content else {}
    return found


async def _first(api: Api, slug: str, **values: str) -> dict[str, Any]:
    items = (await api.as_("boss").get(f"/{slug}", params={"limit": "200"})).json()["items"]
    return next(item for item in items if all(item[name] == value for name, value in values.items()))


async def test_a_draft_is_changed_part_by_part_and_published_as_it_was_seen(api: Api, published: UUID) -> None:
    draft = await _draft(api, published)
    stage = (await _post(api, f"{draft}/stages", {"fields": {"label": "Sign off"}}, 201))["id"]
    fields = {
        "label": "Head signs", "kind": "manual", "owner_role": "preparer", "deadline": DUE,
        "approval_levels": [{"level": 1, "role": "desk_head"}],
    }  # fmt: skip
    made = (await _post(api, f"{draft}/processes", {"stage_id": stage, "fields": fields}, 201))["id"]
    before = await _first(api, "processes", version=draft, code="b")
    edge = {"fields": {"predecessor": before["id"], "successor": made, "accepts": ["done"]}}
    await _post(api, f"{draft}/dependencies", edge, 201)
    changed = await _post(api, f"parts/processes/{made}/change", {"expected_version": 1, "fields": {"critical": True}})
    assert changed["row_version"] == 2
    await _post(api, f"parts/processes/{made}/change", {"expected_version": 1, "fields": {"label": "X"}}, 412)
    copy = (await _post(api, f"parts/processes/{made}/duplicate", {"expected_version": 2}, 201))["id"]
    gone = await _post(api, f"parts/processes/{copy}/remove", {"expected_version": 1})
    assert gone == {"stages": [], "processes": ["head_signs_copy"], "dependencies": 0}
    await _post(api, f"parts/processes/{made}/move", {"expected_version": 2, "position": 0})
    boss = api.as_("boss")
    effect = (await boss.get(f"{VERSIONS}/{draft}/impact")).json()
    assert (effect["number"], effect["published"]["number"], effect["staying"]) == (2, 1, [])
    assert {d["code"] for d in effect["diff"]["differences"]} == {"sign_off", "head_signs", "b>head_signs"}
    assert [f["severity"] for f in (await boss.get(f"{VERSIONS}/{draft}/findings")).json()] == []
    await _post(api, f"{draft}/publish", {"digest": "0" * 64}, 412)
    done = await _post(api, f"{draft}/publish", {"digest": effect["digest"], "reason": "Policy"})
    assert done["digest"] == effect["digest"]
    await _post(api, f"{draft}/stages", {"fields": {"label": "Late"}}, 409)
    differences = (await boss.get(f"{VERSIONS}/{draft}/differences", params={"since": str(published)})).json()
    assert differences["summary"].startswith("1 stage added: Sign off.")
    whole = (await boss.get(f"{VERSIONS}/{draft}/definition")).json()
    assert [stage["code"] for stage in whole["stages"]] == ["s1", "sign_off"]


async def test_a_command_with_a_key_is_done_once(api: Api, published: UUID) -> None:
    draft = await _draft(api, published)
    ids = set()
    for _ in range(2):
        answer = await api.as_("boss").post(
            f"{VERSIONS}/{draft}/stages", json={"fields": {"label": "Once"}}, headers={"idempotency-key": "k-1"}
        )
        ids.add(answer.json()["id"])
    assert len(ids) == 1


async def test_a_version_is_exported_and_imported(api: Api, published: UUID) -> None:
    boss = api.as_("boss")
    answer = await boss.post(f"{VERSIONS}/{published}/export")
    assert answer.headers["content-type"].startswith("application/yaml")
    body = {"content": answer.text, "workflow": "W"}
    draft = (await _post(api, "imports", body, 201))["id"]
    await _post(api, "imports", body, 409)
    assert (await _post(api, "imports", {**body, "replace_draft": True}, 201))["id"] == draft
    differences = (await boss.get(f"{VERSIONS}/{draft}/differences", params={"since": str(published)})).json()
    assert differences == {"summary": "Nothing differs.", "differences": []}
    await _post(api, f"{draft}/discard", status=204)
    await _post(api, f"{draft}/discard", status=404)
    await _post(api, "imports", {"content": "workflow: ["}, 400)


async def test_runs_are_taken_over_by_a_plan(api: Api, published: UUID) -> None:
    async with api.runtime.uow(SYSTEM) as uow:
        api.run_id = await create_run(uow, workflow="W", business_date=DAY)
    new = await api.publish([manual("a"), manual("c")], [("a", "c")])
    boss = api.as_("boss")
    body = {
        "from_version_id": str(published), "to_version_id": str(new), "mapping": [{"from": "b", "to": "c"}],
        "reason": "Policy",
    }  # fmt: skip
    answer = await boss.post("/migration-plans/trials", json=body)
    assert answer.status_code == 201, answer.text
    plan = f"/migration-plans/{answer.json()['id']}"
    trial = (await boss.get(f"{plan}/trial")).json()
    assert [(item["possible"], item["message"]) for item in trial["items"]] == [(True, "1 kept, 1 renamed")]
    assert (await boss.post(f"{plan}/execution", json={"expected_version": 9})).status_code == 412
    answer = await boss.post(f"{plan}/execution", json={"expected_version": 1})
    assert answer.status_code == 202
    assert (await boss.post(f"{plan}/cancellation", json={"expected_version": 2})).status_code == 409
    await execute_job_run(api.runtime, UUID(answer.json()["job_run_id"]), hooks=HOOKS)
    done = (await boss.get(f"{plan}/trial")).json()
    assert (done["state"], done["items"][0]["state"], done["items"][0]["possible"]) == ("done", "migrated", None)
    assert done["items"][0]["outcome"]["counts"] == {"kept": 1, "renamed": 1}
    assert await api.states() == {"a": "ready", "c": "blocked"}
    body["mapping"] = [{"from": "b", "to": "nowhere"}]
    assert (await boss.post("/migration-plans/trials", json=body)).status_code == 422


@pytest.mark.parametrize("who", ["preparer", "auditor"])
async def test_others_read_and_change_nothing(api: Api, published: UUID, who: str) -> None:
    draft = await _draft(api, published)
    stage = await _first(api, "stages", version=draft)
    caller = api.as_(who)
    for path, body in (
        ("drafts", {"version_id": str(published)}),
        ("imports", {"content": "workflow: {}"}),
        (f"{draft}/stages", {"fields": {"label": "X"}}),
        (f"{draft}/publish", {"digest": "0" * 64}),
        (f"{draft}/discard", {}),
        (f"parts/stages/{stage['id']}/remove", {"expected_version": 1}),
        (f"parts/stages/{stage['id']}/change", {"expected_version": 1, "fields": {"label": "X"}}),
    ):
        assert (await caller.post(f"{VERSIONS}/{path}", json=body)).status_code == 403, path
    for path in ("definition", "findings", "impact"):
        assert (await caller.get(f"{VERSIONS}/{draft}/{path}")).status_code == 200, path
    body = {"from_version_id": str(published), "to_version_id": draft}
    assert (await caller.post("/migration-plans/trials", json=body)).status_code == 403
