"""Retention: what is old goes by its rule, what is evidence never does, and the trial says what would go."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from app.bootstrap import Runtime
from app.core.errors import Forbidden, NotFound, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.jobs import retention
from app.domain.jobs.retention import BY_CODE, RULES, clear_old, days_of, first_id_at, set_days, what_is_kept
from models.base import uuid7
from tests.factories import SYSTEM, World, add_row

EVIDENCE = {
    "audit_entry", "process_run", "process_transition", "workflow_run", "job_run", "sla_clock", "sla_event", "pnl_fact",
    "record_transition", "escalation", "escalation_event", "file", "file_version",
}  # fmt: skip


def test_no_rule_touches_what_is_evidence() -> None:
    assert not {rule.table for rule in RULES} & EVIDENCE
    assert all(rule.least <= rule.days <= retention.MOST_DAYS for rule in RULES)
    assert len(BY_CODE) == len(RULES)


@pytest.mark.parametrize("given", [True, "90", 0, -1, 29, 3_651, 40.5, None, {}])
def test_a_parameter_that_is_no_number_of_days_within_bounds_does_not_count(given: object) -> None:
    assert days_of(BY_CODE["mails"], given) is None
    assert days_of(BY_CODE["mails"], 40) == 40


async def _notification(uow: UnitOfWork, user: object, *, age: int, read: bool) -> None:
    id_ = first_id_at(datetime.now(UTC) - timedelta(days=age))
    await add_row(
        uow, "notification", id=id_, user_id=user, kind="system", title="t", at=uow.now,
        read_at=uow.now if read else None, dedup_key=str(id_) + str(read), in_app=True,
    )  # fmt: skip


async def _due(runtime: Runtime, code: str) -> int:
    async with runtime.uow(SYSTEM) as uow:
        return next(kept.due for kept in await what_is_kept(uow) if kept.rule.code == code)


async def test_read_notifications_go_when_they_are_old_and_the_trial_counts_them(
    runtime: Runtime, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PORTION", 2)
    user = await world.user("a@bank.example")
    async with runtime.uow(SYSTEM) as uow:
        for age in (200, 201, 202, 203, 204):
            await _notification(uow, user, age=age, read=True)
        await _notification(uow, user, age=205, read=False)
        await _notification(uow, user, age=10, read=True)
    assert await _due(runtime, "notifications") == 5
    assert await clear_old(runtime) == 5
    assert await _due(runtime, "notifications") == 0
    assert await clear_old(runtime) == 0
    async with runtime.uow(SYSTEM) as uow:
        assert await uow.scalar(text("SELECT count(*) FROM notification")) == 2
        audited = (
            await uow.execute(text("SELECT entity, context FROM audit_entry WHERE command = 'retention.clear'"))
        ).one()
    assert audited.entity == "notification"
    assert audited.context == {"rule": "notifications", "days": 180, "rows": 5}


async def test_a_job_keeps_its_attempts_and_loses_only_their_old_log(runtime: Runtime) -> None:
    async with runtime.uow(SYSTEM) as uow:
        job = await add_row(
            uow, "job_run", function="x", state="succeeded", attempt=1, failures=0, max_attempts=3, backoff_seconds=1
        )
        for number, age in ((1, 400), (2, 10)):
            await add_row(
                uow, "job_attempt", id=first_id_at(datetime.now(UTC) - timedelta(days=age)), job_run_id=job,
                number=number, state="succeeded", started_at=uow.now, log=[{"message": "m"}],
            )  # fmt: skip
    assert await clear_old(runtime) == 1
    async with runtime.uow(SYSTEM) as uow:
        rows = (await uow.execute(text("SELECT number, log FROM job_attempt ORDER BY number"))).all()
    assert [(row.number, row.log is None) for row in rows] == [(1, True), (2, False)]


async def test_sessions_and_silent_workers_go_by_when_they_ended(runtime: Runtime, world: World) -> None:
    user = await world.user("a@bank.example")
    now = datetime.now(UTC)
    async with runtime.uow(SYSTEM) as uow:
        for number, expires in enumerate((now - timedelta(days=91), now - timedelta(days=89), now)):
            await add_row(
                uow, "user_session", user_id=user, token_hash=f"h{number}", csrf_token="c", last_seen_at=expires,
                expires_at=expires,
            )  # fmt: skip
        for number, seen in enumerate((now - timedelta(days=8), now)):
            await add_row(
                uow, "worker", name=f"w{number}", started_at=seen, seen_at=seen, done=0, failed=0, redis_ok=True
            )
    assert await clear_old(runtime) == 2
    async with runtime.uow(SYSTEM) as uow:
        assert await uow.scalar(text("SELECT count(*) FROM user_session")) == 2
        assert await uow.scalar(text("SELECT name FROM worker")) == "w1"


async def test_one_rule_that_cannot_be_followed_does_not_keep_the_others(runtime: Runtime, world: World) -> None:
    user = await world.user("a@bank.example")
    async with runtime.uow(SYSTEM) as uow:
        await _notification(uow, user, age=200, read=True)
        await uow.execute(text("ALTER TABLE periodic_run RENAME TO elsewhere"))
    assert await clear_old(runtime) == 1


async def test_administrators_of_the_platform_change_the_days(runtime: Runtime, world: World) -> None:
    user = await world.user("a@bank.example")
    async with runtime.uow(SYSTEM) as uow:
        await _notification(uow, user, age=20, read=True)
    admin = world.actor("admin", application="PLATFORM")
    for days in (30, 15):
        async with runtime.uow(admin) as uow:
            await set_days(uow, "notifications", days)
    async with runtime.uow(admin) as uow:
        with pytest.raises(ValidationFailed, match="7 to 3650 days"):
            await set_days(uow, "notifications", 6)
        with pytest.raises(NotFound):
            await set_days(uow, "audit_entry", 30)
    async with runtime.uow(world.actor("operations")) as uow:
        with pytest.raises(Forbidden):
            await set_days(uow, "notifications", 30)
    assert await _due(runtime, "notifications") == 1
    assert await clear_old(runtime) == 1


async def test_a_parameter_that_cannot_be_meant_is_shown_and_the_shipped_number_counts(runtime: Runtime) -> None:
    async with runtime.uow(SYSTEM) as uow:
        await add_row(uow, "parameter", id=uuid7(), code="retention.mails", label="x", value="soon")
    async with runtime.uow(SYSTEM) as uow:
        kept = next(each for each in await what_is_kept(uow) if each.rule.code == "mails")
    assert (kept.days, kept.ignored) == (365, "soon")
