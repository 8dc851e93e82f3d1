"""GET /workflow-runs/{id}/forecast."""

import pytest

from app.domain.prediction.keeping import refresh_forecast
from models.base import uuid7
from tests.api.conftest import Api
from tests.factories import SYSTEM
from tests.service.workflow.bank import manual


@pytest.fixture
async def run(api: Api) -> str:
    run_id = await api.run([manual("a"), manual("b")], [("a", "b")])
    return f"/workflow-runs/{run_id}/forecast"


async def test_a_forecast_is_there_once_it_has_been_computed(api: Api, run: str) -> None:
    answer = await api.as_("preparer").get(run)
    assert answer.status_code == 404
    assert "not been forecast yet" in answer.json()["detail"]
    async with api.runtime.uow(SYSTEM) as uow:
        assert api.run_id is not None
        await refresh_forecast(uow, run_id=api.run_id)
    answer = await api.as_("preparer").get(run)
    assert answer.status_code == 200
    body = answer.json()
    assert body["run"] == str(api.run_id)
    assert body["outdated"] is False
    assert 0 <= body["target"]["miss"] <= 1
    assert body["target"]["sentence"].startswith("P(miss 17:00) = ")
    assert len(body["processes"]) == 2
    assert body["critical_path"] == [str((await api.row(code))["id"]) for code in "ab"]
    assert {each["source"] for each in body["processes"]} == {"expected"}


async def test_a_run_that_does_not_exist_has_none(api: Api, run: str) -> None:
    answer = await api.as_("preparer").get(f"/workflow-runs/{uuid7()}/forecast")
    assert answer.status_code == 404
    assert run not in answer.json()["detail"]
