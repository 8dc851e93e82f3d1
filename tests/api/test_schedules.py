"""Schedules over REST: simulations before and after saving, and the run of an occurrence that was left out."""

from typing import Any

import pytest
from sqlalchemy import text

from app.domain.schedules.service import create_due_runs
from tests.api.conftest import Api
from tests.factories import SYSTEM
from tests.service.schedules.office import at
from tests.service.workflow.bank import manual


@pytest.fixture
async def workflow(api: Api) -> str:
    await api.publish([manual("a")])
    async with api.runtime.uow(SYSTEM) as uow:
        return str(await uow.scalar(text("SELECT id FROM workflow WHERE code = 'W'")))


def schedule(workflow: str, **values: Any) -> dict[str, Any]:
    return {"code": "S", "label": "S", "workflow": workflow, "at": "07:00", "zone": "Europe/Berlin", **values}


async def test_a_rule_is_simulated_before_it_is_saved(api: Api, workflow: str) -> None:
    body = {"schedule": {"workflow": workflow, "period": "month", "offset": "WD+1", "at": "18:00"}, "months": 12}
    answer = await api.as_("boss").post("/schedules/simulation", json=body)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["rule"].startswith("On the 1st working day after the end of each month")
    assert found["counts"]["created"] == len(found["occurrences"]) == 12
    first = found["occurrences"][0]
    assert first["weekday"] in ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
    assert (first["day"], first["moved"], first["clashes"]) == (first["business_date"], "", [])
    wrong = await api.as_("boss").post("/schedules/simulation", json={"schedule": {"period": "month", "offset": "3"}})
    assert wrong.status_code == 422
    assert wrong.json()["errors"][0]["path"] in ("at", "offset")


async def test_a_stored_schedule_is_simulated_and_its_missed_run_is_created(api: Api, workflow: str) -> None:
    boss = api.as_("boss")
    created = await boss.post("/schedules", json=schedule(workflow, catch_up="none", valid_from="2020-01-01"))
    assert created.status_code == 201, created.text
    id_ = created.json()["id"]
    found = (await boss.get(f"/schedules/{id_}/simulation", params={"months": "1"})).json()
    assert 15 <= found["counts"]["created"] <= 25
    assert (await boss.get(f"/schedules/{id_}")).json()["next_due_at"] == found["occurrences"][0]["due_at"]
    async with api.runtime.uow(SYSTEM) as uow:
        await uow.execute(
            text("UPDATE schedule SET next_due_at = :at, handled_until = :at"), {"at": at("2026-03-29 00:00")}
        )
    await create_due_runs(api.runtime, now=at("2026-03-30 12:00"))
    occurrences = (await boss.get("/schedule-occurrences")).json()["items"]
    assert [(o["business_date"], o["state"], o["cause"]) for o in occurrences] == [("2026-03-30", "omitted", "missed")]
    address = f"/schedule-occurrences/{occurrences[0]['id']}/run"
    assert (await api.as_("preparer").post(address)).status_code == 403
    answer = await boss.post(address)
    assert answer.status_code == 201
    run = await boss.get(answer.headers["location"].removeprefix("/api/v1"))
    assert run.json()["business_date"] == "2026-03-30"
    assert (await boss.post(address)).status_code == 409


async def test_a_wrong_rule_is_refused_at_its_field(api: Api, workflow: str) -> None:
    answer = await api.as_("boss").post("/schedules", json=schedule(workflow, calendars="TARGET &"))
    assert answer.status_code == 422
    assert [problem["path"] for problem in answer.json()["errors"]] == ["calendars"]
    assert (await api.as_("preparer").post("/schedules", json=schedule(workflow))).status_code == 403
