"""Calendars over REST: a draft is changed, looked through with what it moves, and published by a second person."""

from typing import Any

from sqlalchemy import text

from app.domain.workflow.runs import create_run
from tests.api.conftest import Api
from tests.factories import SYSTEM
from tests.service.workflow.bank import DAY, manual


async def _version(api: Api, id_: str) -> dict[str, Any]:
    answer = await api.as_("boss").get(f"/calendar-versions/{id_}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_calendar_is_changed_reviewed_and_published_over_rest(api: Api) -> None:
    await api.publish([manual("load")])
    async with api.runtime.uow(SYSTEM) as uow:
        await create_run(uow, workflow="W", business_date=DAY)
        calendar = await uow.scalar(text("SELECT id FROM calendar WHERE code = 'TARGET'"))
    await api.caller("maker", "admin")
    await api.caller("checker", "admin")
    maker, checker = api.as_("maker"), api.as_("checker")
    made = await maker.post(f"/calendars/{calendar}/draft", json={"notes": "Decree"})
    assert made.status_code == 201, made.text
    path, id_ = f"/calendar-versions/{made.json()['id']}", made.json()["id"]

    async def send(step: str, **body: Any) -> Any:
        answer = await maker.post(
            f"{path}/{step}", json={"expected_version": (await _version(api, id_))["row_version"], **body}
        )
        assert answer.status_code in (200, 204), answer.text
        return answer.json() if answer.content else None

    assert await send("special-days", first=str(DAY), last="2026-10-31", label="Decree") == {"days": 2}
    assert await send("removal", days=["2026-10-31"]) == {"days": 1}
    assert await send("holidays", source="DE", first_year=2027, last_year=2027) == {"days": 9}
    await send(
        "week",
        monday="08:00-12:00, 13:00-18:00",
        **dict.fromkeys(("tuesday", "wednesday", "thursday", "friday"), "09:00-18:00"),
    )
    stale = await maker.post(f"{path}/special-days", json={"expected_version": 1, "first": "2026-12-24", "label": "x"})
    assert stale.status_code == 412
    zoned = {"first": "2026-12-24", "label": "x", "kind": "early_close", "closes_at": "12:00:00Z"}
    seen = (await _version(api, id_))["row_version"]
    refused = await maker.post(f"{path}/special-days", json={"expected_version": seen, **zoned})
    assert (refused.status_code, refused.json()["errors"][0]["path"]) == (422, "closes_at")

    impact = (await checker.get(f"{path}/impact")).json()
    assert (impact["total"], impact["later"], impact["first_day"]) == (1, 1, str(DAY))
    assert impact["deadlines"][0]["minutes"] == 3 * 1440
    assert {"what": "Monday", "day": None, "before": "09:00-18:00", "after": "08:00-12:00, 13:00-18:00"} in impact[
        "differences"
    ]
    await send("review")
    seen = {"expected_version": (await _version(api, id_))["row_version"], "reason": "Decree of the state"}
    assert (await maker.post(f"{path}/publication", json=seen)).status_code == 403
    assert (await checker.post(f"{path}/publication", json=seen)).status_code == 204
    assert (await _version(api, id_))["state"] == "published"
    assert (await maker.post(f"{path}/discarding")).status_code == 409
    days = (await checker.get(f"/calendars/{calendar}/days", params={"year": "2026"})).json()
    assert [each["works"] for each in days if each["day"] in (str(DAY), "2026-10-29")] == [True, False]
    trial = {"start": "2026-10-29T16:00:00+01:00", "promise": "PT4H"}
    answer = (await checker.get(f"/calendars/{calendar}/trial", params=trial)).json()
    assert answer["due_at"] == "2026-11-02T09:00:00Z"
    wrong = await checker.get(f"/calendars/{calendar}/trial", params={**trial, "promise": "soon"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "deadline_invalid")


async def test_a_reader_changes_no_calendar(api: Api) -> None:
    async with api.runtime.uow(SYSTEM) as uow:
        calendar = await uow.scalar(text("SELECT id FROM calendar WHERE code = 'TARGET'"))
    preparer = api.as_("preparer")
    assert (await preparer.get(f"/calendars/{calendar}/days", params={"year": "2026"})).status_code == 200
    assert (await preparer.post(f"/calendars/{calendar}/draft", json={})).status_code == 403
