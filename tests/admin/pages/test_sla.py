"""The SLA monitor, a clock with its new deadline, and a policy from its first draft into force."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.domain.sla.sweep import sweep
from app.domain.workflow.runs import create_run
from tests.admin.conftest import Browser
from tests.admin.pages.conftest import Site
from tests.admin.pages.test_process import text_of
from tests.factories import SYSTEM
from tests.service.workflow.bank import DAY, manual


async def _one(site: Site, sql: str, **values: Any) -> Any:
    async with site.runtime.uow(SYSTEM) as uow:
        return (await uow.execute(text(sql), values)).one()


async def test_the_monitor_counts_open_clocks_and_the_filters_narrow_them(site: Site) -> None:
    await site.bank.run([manual("load"), manual("check", owner_role="controller")])
    clock = await _one(site, "SELECT due_at FROM sla_clock LIMIT 1")
    browser = await site.browser("operations")
    page = await browser.get("/sla")
    assert page.status_code == 200
    assert "2, soonest due first" in text_of(page)
    assert "Process deadline" in page.text
    narrow = await browser.get("/sla?owner=controller")
    assert narrow.text.count('data-label="Work"') == 1
    assert "No clock matches" in (await browser.get("/sla?policy=nothing&state=late")).text
    await sweep(site.runtime, now=clock.due_at + timedelta(minutes=1))
    late = await browser.get("/sla?state=late")
    assert late.text.count('data-label="Work"') == 2
    assert "late" in text_of(late)


async def test_somebody_asks_for_a_new_deadline_and_somebody_else_decides(site: Site) -> None:
    await site.bank.run([manual("load")])
    clock = await _one(site, "SELECT id, due_at, generation FROM sla_clock")
    path = f"/sla/clocks/{clock.id}"
    asks, decides = await site.browser("preparer"), await site.browser("operations")
    wanted = (site.runtime.clock.now() + timedelta(days=2)).replace(second=0, microsecond=0)
    refused = await asks.post(f"{path}/deadline", {"due_at": "tomorrow", "reason": "The desk is closed"})
    assert refused.status_code == 422
    assert "Give a date and a time." in text_of(refused)
    typed = {"due_at": wanted.isoformat(), "reason": "The desk is closed"}
    assert (await asks.post(f"{path}/deadline", typed)).status_code == 303
    assert (await asks.post(f"{path}/deadline", typed)).status_code == 409
    assert "The desk is closed" in (await decides.get("/sla")).text
    request = await _one(site, "SELECT id FROM sla_rebaseline")
    answer = f"{path}/deadline/{request.id}"
    assert (await asks.post(answer, {"decision": "approve"})).status_code == 403
    assert (await decides.post(answer, {"decision": "decline"})).status_code == 422
    assert (await decides.post(answer, {"decision": "approve"})).status_code == 303
    after = await _one(
        site,
        "SELECT c.due_at, c.generation, p.due_at AS process FROM sla_clock c JOIN process_run p ON p.id = c.record_id",
    )
    assert (after.due_at, after.process, after.generation) == (wanted, wanted, 2)
    kept = await _one(site, "SELECT old_due_at, state FROM sla_rebaseline")
    assert (kept.old_due_at, kept.state) == (clock.due_at, "approved")
    assert "approved by" in text_of(await decides.get(path))


async def _draft(browser: Browser, site: Site) -> tuple[str, UUID]:
    made = await browser.post(
        "/sla/policies/new", {"code": "run-length", "label": "Length of runs", "entity": "workflow_run"}
    )
    assert made.status_code == 303, text_of(made)
    path = made.headers["location"]
    return path, UUID(path.rpartition("/")[2])


FORM = {
    "label": "Length of runs", "measure": "duration", "target-0-promise": "PT8H", "target-0-when": "",
    "condition-stop": json.dumps({"state": {"in": ["done", "cancelled"]}}),
    "threshold-0-code": "half", "threshold-0-amount": "50", "threshold-0-kind": "percent", "threshold-0-label": "",
}  # fmt: skip


async def test_a_policy_is_written_tried_reviewed_and_published_by_somebody_else(site: Site) -> None:
    await site.bank.run([manual("load")])
    writer = await site.browser("admin")
    path, policy_id = await _draft(writer, site)
    assert "When the clock runs" in (await writer.get(path)).text
    wrong = await writer.post(f"{path}/save", {**FORM, "target-0-promise": "2 days", "then": "save"})
    assert wrong.status_code == 422
    assert "days and hours do not convert" in text_of(wrong)
    tried = await writer.post(f"{path}/save", {**FORM, "then": "try", "record": ""})
    assert "On this record" in text_of(tried)
    past = await writer.post(f"{path}/save", {**FORM, "then": "simulate"})
    assert "Of the latest 1 records 1 would have had a clock" in text_of(past)
    assert (await writer.post(f"{path}/save", {**FORM, "then": "submit"})).status_code == 303
    version = await _one(site, "SELECT id, state FROM sla_policy_version WHERE policy_id = :id", id=policy_id)
    assert version.state == "in_review"
    own = await writer.post(f"{path}/publish", {"version": str(version.id)})
    assert own.status_code == 403
    assert "somebody else" in text_of(own)
    async with site.runtime.uow(SYSTEM) as uow:  # it was another administrator who wrote it
        await uow.execute(
            text("UPDATE sla_policy_version SET changed_by_id = NULL WHERE policy_id = :id"), {"id": policy_id}
        )
    assert (await writer.post(f"{path}/publish", {"version": str(version.id), "backfill": "yes"})).status_code == 303
    assert "In force" in text_of(await writer.get(path))
    queued = await _one(site, "SELECT count(*) AS n FROM outbox WHERE job = 'sla.backfill'")
    assert queued.n == 1
    assert "Length of runs" in (await (await site.browser("preparer")).get("/sla/policies")).text
    forbidden = await (await site.browser("preparer")).post(f"{path}/draft")
    assert forbidden.status_code == 403


async def test_of_the_platforms_own_policy_only_what_it_announces_is_changed(site: Site) -> None:
    await site.bank.run([manual("load")])
    policy = await _one(site, "SELECT id FROM sla_policy WHERE code = 'process-deadline'")
    path = f"/sla/policies/{policy.id}"
    writer = await site.browser("admin")
    assert (await writer.post(f"{path}/draft")).status_code == 303
    form = {
        "label": "Process deadline", "measure": "duration", "target-0-promise": "PT1H",
        "threshold-0-code": "warning", "threshold-0-amount": "PT45M", "threshold-0-kind": "before",
        "threshold-1-code": "lead", "threshold-1-amount": "PT1H", "threshold-1-kind": "after",
    }  # fmt: skip
    assert (await writer.post(f"{path}/save", {**form, "then": "submit"})).status_code == 303
    async with site.runtime.uow(SYSTEM) as uow:
        version = await uow.scalar(text("SELECT id FROM sla_policy_version WHERE state = 'in_review'"))
        await uow.execute(text("UPDATE sla_policy_version SET changed_by_id = NULL WHERE id = :id"), {"id": version})
    assert (await writer.post(f"{path}/publish", {"version": str(version)})).status_code == 303
    kept = await _one(site, "SELECT measure, warn_minutes, thresholds FROM sla_policy WHERE id = :id", id=policy.id)
    assert (kept.measure, kept.warn_minutes) == ("deadline", 45)
    assert kept.thresholds == [{"code": "lead", "minutes": 60}]
    await site.bank.publish([manual("load")], code="W2")
    async with site.runtime.uow(SYSTEM) as uow:
        run = await create_run(uow, workflow="W2", business_date=DAY)
    clock = await _one(
        site,
        "SELECT c.due_at, c.schedule, c.next_threshold FROM sla_clock c JOIN process_run p ON p.id = c.record_id"
        " WHERE p.run_id = :run", run=run,
    )  # fmt: skip
    assert [code for code, _ in clock.schedule] == ["warning", "breach", "lead"]
    result = await sweep(site.runtime, now=clock.due_at + timedelta(hours=1))
    assert result.recorded >= 5
    passed = await _one(site, "SELECT count(*) AS n FROM sla_event WHERE threshold = 'lead' AND notified")
    assert passed.n == 1
