"""Runs by schedule: created once each, whatever fails, whoever is at it, however long nobody was."""

import asyncio
from datetime import date

import pytest
from sqlalchemy import text

from app.core.errors import Conflict, Forbidden, ValidationFailed
from app.domain.schedules.service import create_due_runs, create_run_of
from app.domain.workflow.runs import create_run
from tests.factories import SYSTEM, add_row
from tests.service.schedules.office import Office, at
from tests.service.workflow.statements import counted


async def test_a_run_is_created_on_each_working_day_at_the_time_of_the_zone(office: Office) -> None:
    await office.schedule()
    assert (await office.stored())["next_due_at"] == at("2026-03-30 05:00")
    await office.work_until("2026-04-01 12:00")
    assert await office.dates() == [date(2026, 3, 30), date(2026, 3, 31), date(2026, 4, 1)]
    rows = await office.rows()
    assert [row["due_at"] for row in rows] == [at(f"2026-{day} 05:00") for day in ("03-30", "03-31", "04-01")]
    assert all(row["run_id"] is not None and row["state"] == "created" for row in rows)
    assert (await office.stored())["next_due_at"] == at("2026-04-02 05:00")


async def test_a_holiday_that_moves_onto_a_day_with_a_run_leaves_a_row_with_its_reason(office: Office) -> None:
    await office.schedule()
    await office.work_until("2026-04-07 12:00")
    assert await office.outcomes() == [
        ("03-30", "created", None),
        ("03-31", "created", None),
        ("04-01", "created", None),
        ("04-02", "created", None),
        ("04-03", "omitted", "moved_onto_another"),
        ("04-06", "omitted", "moved_onto_another"),
        ("04-07", "created", None),
    ]
    reason = (await office.rows())[4]["reason"]
    assert reason == (
        "Fri 3 Apr 2026 is not worked by TARGET; the next working day is Tue 7 Apr 2026. "
        "The run of Tue 7 Apr 2026 is there already."
    )


@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [
        ("all", [("03-30", None), ("03-31", None), ("04-01", None), ("04-02", None)]),
        ("latest", [("03-30", "superseded"), ("03-31", "superseded"), ("04-01", "superseded"), ("04-02", None)]),
        ("none", [("03-30", "missed"), ("03-31", "missed"), ("04-01", "missed"), ("04-02", "missed")]),
    ],
)
async def test_after_an_outage_the_policy_says_what_is_made_up_for(
    office: Office, catch_up: str, expected: list[tuple[str, str | None]]
) -> None:
    await office.schedule(catch_up=catch_up)
    await office.work("2026-04-02 09:00")
    assert [(day, cause) for day, _, cause in await office.outcomes()] == expected
    assert len(await office.dates()) == sum(cause is None for _, cause in expected)
    assert await office.work() == 0


async def test_what_is_late_by_less_than_the_grace_is_not_missed(office: Office) -> None:
    await office.schedule(catch_up="none", grace_minutes=30)
    await office.work("2026-03-30 05:30")
    await office.work("2026-03-31 05:31")
    assert await office.outcomes() == [("03-30", "created", None), ("03-31", "omitted", "missed")]
    assert "31 minutes" in (await office.rows())[1]["reason"]


async def test_many_workers_at_once_create_each_run_once(office: Office) -> None:
    for number in range(6):
        await office.schedule(code=f"S{number}", variant=f"v{number}", catch_up="all")
    now = at("2026-04-08 12:00")
    done = await asyncio.gather(*(create_due_runs(office.runtime, now=now) for _ in range(5)))
    assert sum(done) == 6 * 8  # four working days before Easter, its two holidays, two days after
    assert await office.count("SELECT count(*) FROM workflow_run") == 6 * 6
    assert await office.count("SELECT count(*) FROM schedule_occurrence") == 6 * 8
    assert await office.count("SELECT count(*) FROM schedule_occurrence WHERE run_id IS NULL") == 6 * 2


async def test_a_run_that_a_person_has_begun_is_taken_and_not_doubled(office: Office) -> None:
    await office.schedule()
    async with office.runtime.uow(SYSTEM, now=office.clock) as uow:
        begun = await create_run(uow, workflow="W", business_date=date(2026, 3, 30))
    await office.work("2026-03-30 06:00")
    assert [row["run_id"] for row in await office.rows()] == [begun]


async def test_an_inactive_workflow_and_one_without_a_version_are_named_as_the_reason(office: Office) -> None:
    await office.schedule()
    await office.count("WITH u AS (UPDATE workflow SET active = false RETURNING 1) SELECT count(*) FROM u")
    await office.work("2026-03-30 06:00")
    change = "WITH u AS (UPDATE workflow SET active = true RETURNING 1) SELECT count(*) FROM u"
    await office.count(change)
    await office.count("WITH u AS (UPDATE workflow_version SET state = 'retired' RETURNING 1) SELECT count(*) FROM u")
    await office.work("2026-03-31 06:00")
    rows = await office.rows()
    assert [(row["state"], row["cause"], row["reason"]) for row in rows] == [
        ("omitted", "workflow_inactive", "The workflow Close was not active."),
        ("omitted", "not_published", "The workflow Close had no published version."),
    ]


async def test_a_failure_is_visible_retried_with_growing_pauses_and_holds_nothing_up(office: Office) -> None:
    await office.schedule()
    # Another run has the reference that this one would have.
    async with office.runtime.uow(SYSTEM, now=office.clock) as uow:
        other = await uow.scalar(
            text(
                "INSERT INTO workflow_run (id, reference, label, workflow_id, version_id, application_id,"
                " business_date, variant, state, process_count, open_count, started_at, created_at, updated_at)"
                " SELECT uuidv7(), 'W-20260330', 'x', w.id, v.id, w.application_id, '2020-01-01', 'x', 'done', 0, 0,"
                " now(), now(), now() FROM workflow w JOIN workflow_version v ON v.workflow_id = w.id RETURNING id"
            )
        )
    await office.work("2026-03-30 05:00")
    (row,) = await office.rows()
    assert (row["state"], row["cause"], row["attempts"]) == ("failed", "not_possible", 1)
    assert "Another run has the reference W-20260330" in row["reason"]
    assert row["retry_at"] == at("2026-03-30 05:01")
    assert await office.work("2026-03-30 05:00") == 0
    await office.work("2026-03-30 05:01")
    (row,) = await office.rows()
    assert (row["attempts"], row["retry_at"]) == (2, at("2026-03-30 05:03"))
    await office.work("2026-03-31 05:00")
    assert [state for _, state, _ in await office.outcomes()] == ["failed", "created"]
    async with office.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("UPDATE workflow_run SET reference = 'free' WHERE id = :id"), {"id": other})
    await office.work("2026-03-31 09:00")
    rows = await office.rows()
    assert [(row["state"], row["reason"], row["retry_at"]) for row in rows] == [("created", None, None)] * 2


async def _told(office: Office) -> list[tuple[str, str]]:
    """Who was told of schedules, and what."""
    query = """
        SELECT u.name, n.title FROM notification n JOIN app_user u ON u.id = n.user_id
        WHERE n.record_entity = 'schedule' ORDER BY n.at, u.name
    """
    async with office.runtime.uow(SYSTEM) as uow:
        return [(row.name, row.title) for row in await uow.execute(text(query))]


async def test_after_the_last_attempt_a_person_decides(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("SELECT secret")

    monkeypatch.setattr("app.domain.schedules.service.create_run", refuse)
    await office.schedule(valid_until="2026-03-30")
    async with office.runtime.uow(SYSTEM) as uow:
        await add_row(
            uow, "role_grant", user_id=office.people["operations"].id, role_id=office.roles["operations"],
            application_id=office.applications["PNL"], valid_from=office.clock,
        )  # fmt: skip
    await office.work_until("2026-03-31 04:00")
    (row,) = await office.rows()
    assert (row["state"], row["cause"], row["attempts"], row["retry_at"]) == ("failed", "error", 12, None)
    assert "RuntimeError" in row["reason"]
    assert "secret" not in row["reason"]
    assert await _told(office) == [
        ("operations", "The run of Close for 30 Mar 2026 has failed and is tried again"),
        ("operations", "The run of Close for 30 Mar 2026 is given up"),
    ]
    monkeypatch.undo()
    async with office.runtime.uow(office.people["operations"], now=office.clock) as uow:
        run_id = await create_run_of(uow, occurrence_id=row["id"])
    (row,) = await office.rows()
    assert (row["state"], row["run_id"]) == ("created", run_id)
    with pytest.raises(Conflict, match="has been created"):
        async with office.runtime.uow(office.people["operations"]) as uow:
            await create_run_of(uow, occurrence_id=row["id"])


async def test_an_omitted_run_is_created_by_whoever_may_and_by_nobody_else(office: Office) -> None:
    await office.schedule(catch_up="none")
    await office.work("2026-03-31 04:00")
    (row,) = await office.rows()
    with pytest.raises(Forbidden):
        async with office.runtime.uow(office.people["preparer"]) as uow:
            await create_run_of(uow, occurrence_id=row["id"])
    async with office.runtime.uow(office.people["operations"], now=office.clock) as uow:
        await create_run_of(uow, occurrence_id=row["id"])
    assert await office.dates() == [date(2026, 3, 30)]
    assert await office.count("SELECT count(*) FROM audit_entry WHERE command = 'schedule_occurrence.create_run'") == 1


async def test_a_month_end_close_is_created_on_its_working_day_for_the_last_one_of_the_month(office: Office) -> None:
    await office.schedule(period="month", offset="WD+3", business_date_rule="last_working_day", at="18:00")
    await office.work("2026-04-07 15:59")
    assert await office.rows() == []
    await office.work("2026-04-07 16:00")
    (row,) = await office.rows()
    # Good Friday and Easter Monday do not count.
    assert (row["business_date"], row["nominal_date"]) == (date(2026, 3, 31), date(2026, 4, 7))


async def test_intraday_runs_of_one_date_are_told_apart_by_their_time(office: Office) -> None:
    await office.schedule(period="cron", cron="0 8,12,16 * * 1-5", variant="{time}", at=None, catch_up="all")
    await office.work("2026-03-30 18:00")
    references = "SELECT string_agg(reference, ' ' ORDER BY reference) FROM workflow_run"
    async with office.runtime.uow(SYSTEM) as uow:
        assert await uow.scalar(text(references)) == "W-20260330-0800 W-20260330-1200 W-20260330-1600"


async def test_a_schedule_that_is_switched_on_again_does_not_make_up_for_its_pause(office: Office) -> None:
    schedule = await office.schedule(catch_up="all")
    await office.work("2026-03-30 06:00")
    schedule = await office.change(schedule, active=False)
    assert (await office.stored())["next_due_at"] is None
    await office.work("2026-04-01 06:00")
    await office.change(schedule, active=True)
    assert (await office.stored())["next_due_at"] == at("2026-04-02 05:00")
    await office.work("2026-04-02 06:00")
    assert await office.dates() == [date(2026, 3, 30), date(2026, 4, 2)]


async def test_a_changed_rule_does_not_reach_back_but_what_was_overdue_stays_overdue(office: Office) -> None:
    schedule = await office.schedule(catch_up="all", at="18:00")
    office.clock = at("2026-03-30 10:00")
    schedule = await office.change(schedule, at="07:00")
    await office.work()
    assert await office.dates() == []
    office.clock = at("2026-04-01 10:00")  # an outage of two days, in which the rule is changed
    await office.change(schedule, at="08:00")
    await office.work()
    assert await office.dates() == [date(2026, 3, 31), date(2026, 4, 1)]


async def test_a_new_holiday_moves_the_next_date_as_soon_as_its_calendar_is_in_force(office: Office) -> None:
    await office.schedule(roll="preceding", period="weekly", weekdays=["wed"])
    assert (await office.stored())["next_due_at"] == at("2026-04-01 05:00")
    office.clock = at("2026-03-30 12:00")
    async with office.runtime.uow(SYSTEM, now=office.clock) as uow:
        calendar = await uow.scalar(text("SELECT id FROM calendar"))
        windows = {str(weekday): [["09:00", "18:00"]] for weekday in range(5)}
        version = await add_row(
            uow, "calendar_version", calendar_id=calendar, number=2, state="published", weekly_windows=windows,
            published_at=uow.now,
        )  # fmt: skip
        await add_row(
            uow, "calendar_day", parent_id=version, position=0, day=date(2026, 4, 1), label="Bank", kind="holiday"
        )
    await office.work("2026-03-30 13:00")
    assert (await office.stored())["next_due_at"] == at("2026-03-31 05:00")


async def test_a_schedule_that_cannot_be_worked_out_says_so_and_holds_no_other_up(office: Office) -> None:
    await office.schedule(code="BROKEN")
    await office.schedule(code="S")
    await office.count("WITH u AS (UPDATE schedule SET calendars = 'GONE' WHERE code = 'BROKEN' RETURNING 1) SELECT 1")
    await office.work("2026-03-30 06:00")
    assert "no published calendar GONE; there are TARGET" in (await office.stored("BROKEN"))["trouble"]
    assert await office.dates() == [date(2026, 3, 30)]


@pytest.mark.parametrize(
    ("values", "field", "message"),
    [
        ({"calendars": "TARGET & PARIS"}, "calendars", "no published calendar PARIS; there are TARGET"),
        ({"calendars": "TARGET &"}, "calendars", "missing after “&”"),
        ({"offset": "3"}, "offset", "Write WD\\+3"),
        ({"zone": "Europe/Berln"}, "zone", "Did you mean Europe/Berlin"),
        ({"period": "cron", "cron": "61 * * * *"}, "cron", "minute"),
        ({"variant": "a b"}, "variant", "letters, digits"),
        ({"period": "month", "every": 2}, "valid_from", "Say from when"),
    ],
)
async def test_a_rule_that_cannot_be_used_is_refused_at_its_field(
    office: Office, values: dict[str, object], field: str, message: str
) -> None:
    with pytest.raises(ValidationFailed, match=message) as refused:
        await office.schedule(**values)
    assert [problem.path for problem in refused.value.problems] == [field]
    assert await office.count("SELECT count(*) FROM schedule") == 0


async def test_a_pass_with_nothing_due_is_three_statements_whatever_there_is(office: Office) -> None:
    for number in range(20):
        await office.schedule(code=f"S{number}")
    with counted(office.runtime) as statements:
        assert await office.work("2026-03-30 04:30") == 0
    assert len(statements) == 3
