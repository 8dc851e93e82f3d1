"""Escalations from a late process to its end: who is told when, who stops it, and that each step comes once."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text

from app.core.errors import Forbidden, NotFound, TransitionRefused, ValidationFailed
from app.core.events import DeliveryFailed
from app.domain.escalation.acknowledging import acknowledge, end
from app.domain.escalation.climbing import climb
from app.domain.escalation.queries import escalation_detail, escalations_of, list_escalations, preview_ladder
from app.domain.jobs.events import JobFailed
from app.domain.sla.sweep import sweep
from tests.factories import SYSTEM, add_row
from tests.service.escalation.conftest import DUE, LATE, Ladders
from tests.service.workflow.bank import manual

HALF_AN_HOUR = timedelta(minutes=30)


async def test_one_step_after_the_other_is_told_until_the_work_is_done(bank: Ladders) -> None:
    await bank.ladder(
        {"target": "role", "role_id": bank.roles["operations"]},
        {"wait_minutes": 30, "person_id": bank.person_id("desk_head"), "repeat_times": 1, "repeat_minutes": 10},
        {"wait_minutes": 60, "person_id": bank.person_id("auditor")},
    )
    await bank.run([manual("load")])
    await bank.breach()
    assert await bank.climb_at(LATE) == 1
    assert await bank.climb_at(LATE + timedelta(minutes=29)) == 0
    await bank.climb_at(LATE + timedelta(minutes=31))
    assert await bank.told() == [("operations",), ("desk_head",)]
    await bank.climb_at(LATE + timedelta(minutes=42))
    assert await bank.told() == [("operations",), ("desk_head",), ("desk_head",)]
    await bank.do("submit", "load", "preparer")
    await bank.climb_at(LATE + timedelta(hours=5))
    assert len(await bank.told()) == 3
    row = await bank.escalation()
    assert (row["state"], row["next_at"]) == ("ended", None)
    assert "work is done" in row["end_reason"]
    assert await bank.climb_at(LATE + timedelta(days=1)) == 0


async def test_the_people_are_notified_with_the_ladder_and_the_step(bank: Ladders) -> None:
    await bank.ladder({"person_id": bank.person_id("desk_head")})
    await bank.run([manual("load")])
    await bank.breach()
    await climb(bank.runtime)
    async with bank.runtime.uow(SYSTEM) as uow:
        statement = text("SELECT title, body FROM notification WHERE user_id = :id AND title LIKE 'Escalation%'")
        row = (await uow.execute(statement, {"id": bank.person_id("desk_head")})).one()
    assert "Load" in row.title
    assert "Late work: step 1 of 1" in row.body


async def test_who_acknowledges_stops_it_and_it_goes_on_when_it_is_still_not_over(bank: Ladders) -> None:
    await bank.ladder(
        {"person_id": bank.person_id("operations")},
        {"wait_minutes": 30, "person_id": bank.person_id("desk_head")},
        rearm_minutes=45,
    )
    await bank.run([manual("load")])
    await bank.breach()
    await climb(bank.runtime)
    id_ = (await bank.escalation())["id"]
    async with bank.runtime.uow(bank.people["operations"]) as uow:
        with pytest.raises(ValidationFailed):
            await acknowledge(uow, id_, said="  ")
        await acknowledge(uow, id_, said="I call the vendor")
    async with bank.runtime.uow(bank.people["operations"]) as uow:
        with pytest.raises(TransitionRefused, match="Somebody takes care"):
            await acknowledge(uow, id_, said="Me too")
    await bank.climb_at(LATE + timedelta(minutes=40))
    assert await bank.told() == [("operations",)]
    await bank.climb_at(LATE + timedelta(minutes=46))
    assert await bank.told() == [("operations",), ("operations",)]
    await bank.climb_at(LATE + timedelta(minutes=80))
    assert await bank.told() == [("operations",), ("operations",), ("desk_head",)]
    assert (await bank.escalation())["round"] == 2
    assert await bank.kinds() == ["told", "acknowledged", "rearmed", "told", "told"]
    async with bank.runtime.uow(SYSTEM) as uow:
        audited = (
            await uow.execute(text("SELECT command, reason, actor_name FROM audit_entry WHERE entity = 'escalation'"))
        ).one()
    assert tuple(audited) == ("acknowledge", "I call the vendor", "operations")


async def test_without_going_on_an_acknowledgement_is_the_last_word(bank: Ladders) -> None:
    await bank.ladder({"person_id": bank.person_id("operations")}, {"person_id": bank.person_id("desk_head")})
    await bank.run([manual("load")])
    await bank.breach()
    id_ = (await bank.escalation())["id"]
    async with bank.runtime.uow(bank.people["desk_head"]) as uow:
        await acknowledge(uow, id_, said="Mine")
    assert await bank.climb_at(LATE + timedelta(days=2)) == 0
    assert await bank.told() == []
    async with bank.runtime.uow(bank.people["desk_head"]) as uow:
        await end(uow, id_, reason="Agreed with the client")
        with pytest.raises(TransitionRefused, match="ended"):
            await end(uow, id_, reason="again")
    assert (await bank.escalation())["end_reason"] == "Agreed with the client"


async def test_only_whoever_sees_the_work_may_acknowledge(bank: Ladders) -> None:
    await bank.ladder({"person_id": bank.person_id("operations")})
    await bank.run([manual("load", node="G10")])
    await bank.breach()
    id_ = (await bank.escalation())["id"]
    stranger = await bank.person("stranger", "operations", node="EM")
    nobody = await bank.person("nobody")
    async with bank.runtime.uow(stranger) as uow:
        with pytest.raises(NotFound):
            await acknowledge(uow, id_, said="x")
        with pytest.raises(NotFound):
            await escalation_detail(uow, id_)
        assert await list_escalations(uow) == []
    async with bank.runtime.uow(nobody) as uow:
        with pytest.raises(Forbidden):
            await acknowledge(uow, id_, said="x")


async def test_four_workers_tell_each_step_once(bank: Ladders) -> None:
    await bank.ladder(
        {"person_id": bank.person_id("operations")}, {"wait_minutes": 1, "person_id": bank.person_id("desk_head")}
    )
    await bank.run([manual(f"p{number}") for number in range(12)])
    await bank.breach()
    for moment in (LATE, LATE + timedelta(minutes=2)):
        await bank.at(moment)
        moved = await asyncio.gather(*(climb(bank.runtime) for _ in range(4)))
        assert sum(moved) == 12
    assert sorted(await bank.told()) == [("desk_head",)] * 12 + [("operations",)] * 12


async def test_a_threshold_starts_its_ladder_once_and_an_inactive_one_not_at_all(bank: Ladders) -> None:
    ladder = await bank.ladder({"person_id": bank.person_id("operations")}, active=False)
    await bank.run([manual("load"), manual("check")])
    await bank.breach()
    assert await bank.count("SELECT count(*) FROM escalation") == 0
    async with bank.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("UPDATE escalation_ladder SET active = true WHERE id = :id"), {"id": ladder})
        await uow.execute(text("UPDATE sla_clock SET next_threshold = 'breach', next_fire_at = due_at"))
    await sweep(bank.runtime)
    assert await bank.count("SELECT count(*) FROM escalation") == 0  # recorded before: nothing is announced again


async def test_a_role_counts_at_the_event_and_where_its_grant_reaches(bank: Ladders) -> None:
    await bank.person("other_desk", "operations", node="EM")
    await bank.person("this_desk", "operations", node="FX")
    await bank.ladder({"target": "role", "role_id": bank.roles["operations"]})
    await bank.run([manual("load", node="G10")])
    await bank.breach()
    await bank.person("new", "operations")
    await climb(bank.runtime)
    assert await bank.told() == [("new", "operations", "this_desk")]


async def test_owner_manager_and_group_are_reached(bank: Ladders) -> None:
    async with bank.runtime.uow(SYSTEM) as uow:
        await uow.execute(
            text('UPDATE hierarchy_node SET attributes = \'{"owner": "Desk_Head@bank.example"}\' WHERE id = :id'),
            {"id": bank.nodes["FX"]},
        )
        await uow.execute(
            text("UPDATE app_user SET manager_id = :boss WHERE id = :id"),
            {"boss": bank.person_id("controller"), "id": bank.person_id("preparer")},
        )
        group = await add_row(uow, "user_group", code="on_call", label="On call", active=True)
        for position, name in enumerate(("auditor", "operations")):
            await add_row(uow, "user_group_member", parent_id=group, position=position, user_id=bank.person_id(name))
    await bank.ladder({"target": "owner"}, {"target": "manager"}, {"target": "group", "group_id": group})
    await bank.run([manual("load", node="G10")])
    await bank.do("claim", "load", "preparer")
    await bank.breach()
    for _ in range(3):
        await climb(bank.runtime)
    assert await bank.told() == [("desk_head",), ("controller",), ("auditor", "operations")]


async def test_who_is_away_is_replaced_and_where_nobody_is_left_the_fallback_is_told(bank: Ladders) -> None:
    await bank.ladder(
        {"person_id": bank.person_id("desk_head")},
        {"person_id": bank.person_id("controller2")},
        fallback_role_id=bank.roles["operations"],
    )
    async with bank.runtime.uow(SYSTEM) as uow:
        await add_row(
            uow, "delegation", delegator_id=bank.person_id("desk_head"), delegate_id=bank.person_id("controller"),
            valid_from=DUE - HALF_AN_HOUR, valid_until=DUE + HALF_AN_HOUR, reason="Leave",
        )  # fmt: skip
        await uow.execute(
            text("UPDATE app_user SET active = false WHERE id = :id"), {"id": bank.person_id("controller2")}
        )
    await bank.run([manual("load")])
    await bank.breach()
    for _ in range(2):
        await climb(bank.runtime)
    assert await bank.told() == [("controller",), ("operations",)]
    assert await bank.kinds() == ["told", "fallback"]


async def test_a_step_that_reaches_nobody_at_all_hands_over_to_the_next(bank: Ladders) -> None:
    await bank.ladder(
        {"target": "owner", "repeat_times": 3}, {"wait_minutes": 60, "person_id": bank.person_id("auditor")}
    )
    await bank.run([manual("load")])
    await bank.breach()
    for _ in range(2):
        await climb(bank.runtime)
    assert await bank.kinds() == ["nobody", "told"]
    assert await bank.told() == [("auditor",)]


async def test_working_hours_hold_a_step_back_until_they_begin(bank: Ladders) -> None:
    async with bank.runtime.uow(SYSTEM) as uow:
        calendar = await uow.scalar(text("SELECT id FROM calendar WHERE code = 'TARGET'"))
    ladder = await bank.ladder({"person_id": bank.person_id("operations"), "calendar_id": calendar})
    await bank.run([manual("load")])  # due on a Friday at 18:00, when the office closes
    await bank.breach()
    assert await bank.climb_at(LATE) == 1
    assert await bank.told() == []
    monday = (await bank.escalation())["next_at"]
    assert f"{monday:%A %H:%M}" == "Monday 08:00"
    async with bank.runtime.uow(SYSTEM) as uow:
        preview = await preview_ladder(uow, ladder, since=LATE)
    assert [telling.at for telling in preview.tellings] == [monday]
    assert (preview.steps[0].target, preview.steps[0].calendar) == ("operations", "TARGET")
    await bank.climb_at(monday + timedelta(seconds=2))
    assert await bank.told() == [("operations",)]


async def test_a_failed_job_starts_its_ladder_and_sending_it_off_again_ends_it(bank: Ladders) -> None:
    await bank.ladder(
        {"person_id": bank.person_id("operations")},
        {"wait_minutes": 9, "person_id": bank.person_id("desk_head")},
        job_failures=True,
        job_function="load",
    )
    async with bank.runtime.uow(SYSTEM) as uow:
        jobs = [
            await add_row(
                uow, "job_run", function=function, state="failed", attempt=3, failures=3, max_attempts=3,
                backoff_seconds=1,
            )
            for function in ("load", "other")
        ]  # fmt: skip
        for job in jobs:
            uow.emit(JobFailed(at=uow.now, job_run_id=job, process_run_id=None))
    await climb(bank.runtime)
    assert await bank.told() == [("operations",)]
    row = await bank.escalation()
    assert (row["record_entity"], row["record_id"], row["label"]) == ("job_run", jobs[0], "Job load")
    async with bank.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("UPDATE job_run SET state = 'queued'"))
    assert await climb(bank.runtime) == 1
    assert (await bank.escalation())["state"] == "ended"


async def test_failed_deliveries_start_one_ladder_a_day_and_never_by_themselves(bank: Ladders) -> None:
    await bank.ladder({"person_id": bank.person_id("operations")}, delivery_failures=True)
    async with bank.runtime.uow(SYSTEM) as uow:
        for entity in (None, None, "mail_message"):
            uow.emit(
                DeliveryFailed(
                    at=uow.now, delivery_id=uuid4(), channel="mail", rule=None, user_id=bank.person_id("auditor"),
                    record_entity=entity, record_id=None, error="550",
                )
            )  # fmt: skip
    assert (await bank.escalation())["label"] == "No delivery by mail to auditor"


async def test_an_escalation_that_cannot_be_moved_does_not_stand_in_the_way(bank: Ladders) -> None:
    await bank.ladder({"person_id": bank.person_id("operations")})
    await bank.run([manual("load"), manual("check")])
    await bank.breach()
    async with bank.runtime.uow(SYSTEM) as uow:
        await uow.execute(
            text("UPDATE escalation SET plan = '[{\"target\": \"moon\"}]', next_at = next_at - interval '1 hour'"
                 " WHERE label LIKE 'Load%'")
        )  # fmt: skip
    assert await climb(bank.runtime) == 2
    assert await bank.told() == [("operations",)]
    assert await climb(bank.runtime) == 0


async def test_the_lists_show_what_comes_next_and_what_happened(bank: Ladders) -> None:
    await bank.ladder(
        {"person_id": bank.person_id("operations")}, {"wait_minutes": 30, "person_id": bank.person_id("desk_head")}
    )
    await bank.run([manual("load")])
    await bank.breach()
    await climb(bank.runtime)
    record = (await bank.row("load"))["id"]
    async with bank.runtime.uow(bank.people["preparer"]) as uow:
        (line,) = await list_escalations(uow)
        assert [line] == await escalations_of(uow, entity="process_run", record_id=record)
        shown, happened, preview = await escalation_detail(uow, line.id)
    assert shown == line
    assert (line.step, line.steps, line.next_target, line.ladder, line.due_at) == (1, 2, "desk_head", "Late work", DUE)
    assert [(event.kind, event.people) for event in happened] == [("told", ("operations",))]
    assert [telling.step for telling in preview.tellings] == [0, 1]
