"""Simulations: every date of months to come, with why, and what clashes."""

from datetime import date
from typing import Any

import pytest

from app.core.errors import ValidationFailed
from app.domain.schedules.preview import read_values, simulate, simulate_schedule
from app.domain.schedules.simulation import Simulation
from tests.factories import SYSTEM
from tests.service.schedules.office import Office


async def simulated(office: Office, **values: Any) -> Simulation:
    given = {"workflow": str(office.workflow_id), "at": "07:00", **values}
    async with office.runtime.uow(SYSTEM, now=office.clock) as uow:
        return await simulate(uow, read_values(uow.registry, given))


async def test_what_is_simulated_for_two_years_is_what_then_happens(office: Office) -> None:
    schedule = await office.schedule(period="month", offset="CD+14", roll="modified_following", catch_up="all")
    async with office.runtime.uow(SYSTEM, now=office.clock) as uow:
        found = await simulate_schedule(uow, schedule["id"], months=24)
    expected = [row.occurrence.business_date for row in found.rows if not row.omitted]
    assert len(expected) == 24
    for row in found.rows:
        await office.work(row.occurrence.due_at)
    assert await office.dates() == expected


async def test_two_years_have_their_counts_their_reasons_and_nothing_twice(office: Office) -> None:
    found = await simulated(office, period="daily")
    # 522 weekdays less 2 and 2 days of Easter, May Day of 2026, Christmas Day of 2026 and New Year's Day of 2027.
    assert dict(found.counts) == {"created": 515, "omitted": 7, "moved": 0, "clashes": 0}
    omitted = [row for row in found.rows if row.omitted]
    assert omitted[0].occurrence.business_date == date(2026, 4, 3)
    assert all(row.omitted.startswith(f"{row.occurrence.business_date:%a}") for row in omitted)
    monthly = await simulated(office, period="month", roll="modified_following")
    assert monthly.counts["moved"] == sum(bool(row.moved) for row in monthly.rows) > 4
    assert monthly.words.startswith("At the end of each month, at 07:00 Europe/Berlin.")


async def test_another_schedule_of_the_same_run_is_a_clash_also_where_it_names_the_node(
    office: Office,
) -> None:
    await office.schedule(code="MONTHLY", period="month", offset="WD-1", node=str(office.nodes["FX"]))
    found = await simulated(office, period="daily")
    clashing = [row for row in found.rows if row.clashes]
    assert len(clashing) == 24
    assert {clash.others for row in clashing for clash in row.clashes} == {("MONTHLY",)}
    apart = await simulated(office, period="daily", variant="intraday")
    assert apart.counts["clashes"] == 0


async def test_a_stored_schedule_does_not_clash_with_itself(office: Office) -> None:
    schedule = await office.schedule()
    async with office.runtime.uow(SYSTEM, now=office.clock) as uow:
        found = await simulate_schedule(uow, schedule["id"])
    assert found.counts["clashes"] == 0


async def test_too_many_runs_in_one_minute_are_a_clash(office: Office) -> None:
    for number in range(20):
        await office.schedule(code=f"S{number}", variant=f"v{number}", period="month", offset="WD-1")
    found = await simulated(office, period="month", offset="WD-1", variant="own")
    assert {clash.kind for row in found.rows for clash in row.clashes} == {"crowded"}
    assert found.rows[0].clashes[0].text == "21 runs are created in this minute; spread them over several."
    spread = await simulated(office, period="month", offset="WD-1", variant="own", at="07:01")
    assert spread.counts["clashes"] == 0


async def test_years_without_holidays_are_told(office: Office) -> None:
    async with office.runtime.uow(SYSTEM, now=office.clock) as uow:
        values = read_values(uow.registry, {"workflow": str(office.workflow_id), "at": "07:00"})
        found = await simulate(uow, values, months=60)
    assert found.warnings == (
        "TARGET lists no holidays after Thu 26 Dec 2030; dates beyond that year are provisional.",
    )


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"period": "fortnight"}, "period"),
        ({"next_due_at": "2026-01-01T00:00:00Z"}, "next_due_at"),
        ({"calendars": "MOON"}, "calendars"),
        ({"at": None}, "at"),
        ({"workflow": None}, "workflow"),
    ],
)
async def test_what_cannot_be_simulated_says_which_field(office: Office, values: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        await simulated(office, **values)
    assert [problem.path for problem in refused.value.problems] == [field]
