"""Entering, seeing and ending delegations: one's own, or as an administrator."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from app.bootstrap import Runtime
from app.core.actor import Actor
from app.core.errors import Conflict, Forbidden, NotFound, ValidationFailed
from app.domain.access.delegations import own_delegations, revoke_delegation
from app.domain.entities.queries import ListQuery, list_records
from app.domain.entities.service import create_record, delete_record, update_record
from tests.factories import SYSTEM, World

DAY = timedelta(days=1)


class Office(World):
    """anna is away, ben stands in, carl has no part in it, boss administers."""

    async def build(self) -> "Office":
        await super().build()
        self.anna = await self.stored_actor("controller")
        self.ben = await self.stored_actor("preparer")
        self.carl = await self.stored_actor("preparer")
        self.boss = await self.stored_actor("admin", application="PLATFORM")
        return self

    def now(self) -> datetime:
        return self.runtime.clock.now()

    async def enter(self, who: Actor, **values: Any) -> dict[str, Any]:
        given = {"delegate": self.ben.id, "valid_until": self.now() + DAY, "reason": "Leave", **values}
        async with self.runtime.uow(who) as uow:
            return await create_record(uow, "delegation", given)

    async def seen(self, who: Actor) -> set[UUID]:
        async with self.runtime.uow(who) as uow:
            page = await list_records(uow, "delegation", ListQuery())
            return {item["id"] for item in page.items}


@pytest.fixture
async def office(runtime: Runtime) -> Office:
    return await Office(runtime).build()


async def test_one_enters_ones_own_absence_and_it_begins_now(office: Office) -> None:
    record = await office.enter(office.anna)
    assert record["delegator"] == office.anna.id
    for who, number in ((office.anna, 1), (office.ben, 1), (office.carl, 0), (office.boss, 1)):
        assert len(await office.seen(who)) == number
    async with office.runtime.uow(office.ben) as uow:
        (found,) = await own_delegations(uow)
    assert (found.delegator_id, found.application) == (office.anna.id, None)


async def test_nobody_enters_somebody_elses_absence_but_an_administrator(office: Office) -> None:
    with pytest.raises(Forbidden):
        await office.enter(office.carl, delegator=office.anna.id)
    with pytest.raises(Forbidden):
        await office.enter(office.ben, delegator=office.anna.id)
    record = await office.enter(office.boss, delegator=office.anna.id)
    assert record["delegator"] == office.anna.id


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"valid_from": -DAY}, "cannot begin in the past"),
        ({"valid_from": DAY, "valid_until": DAY / 2}, "must end after it begins"),
        ({"valid_until": 400 * DAY}, "At most a year"),
        ({"reason": None}, "reason"),
    ],
)
async def test_what_cannot_be_is_refused_in_words(office: Office, values: dict[str, Any], message: str) -> None:
    given = {name: office.now() + value if isinstance(value, timedelta) else value for name, value in values.items()}
    with pytest.raises((ValidationFailed, Conflict), match=message):
        await office.enter(office.anna, **given)


async def test_nobody_stands_in_for_themselves_nor_twice_nor_without_an_account(office: Office) -> None:
    with pytest.raises((ValidationFailed, Conflict), match="Nobody stands in for themselves"):
        await office.enter(office.anna, delegate=office.anna.id)
    await office.enter(office.anna)
    with pytest.raises(ValidationFailed, match="stands in at that time already"):
        await office.enter(office.anna)
    await office.enter(office.anna, valid_from=office.now() + 2 * DAY, valid_until=office.now() + 3 * DAY)
    await office.enter(office.anna, delegate=office.carl.id)
    async with office.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("UPDATE app_user SET active = false WHERE id = :id"), {"id": office.ben.id})
    with pytest.raises(ValidationFailed, match="account is active"):
        await office.enter(office.carl)


async def test_the_past_of_a_delegation_is_not_rewritten(office: Office) -> None:
    record = await office.enter(office.anna)
    async with office.runtime.uow(SYSTEM) as uow:
        await uow.execute(text("UPDATE delegation SET valid_from = valid_from - interval '5 h'"))
    with pytest.raises(ValidationFailed, match="cannot end in the past"):
        await _change(office, office.anna, record, valid_until=office.now() - timedelta(hours=2))
    with pytest.raises(ValidationFailed):
        await _change(office, office.anna, record, valid_from=office.now() + DAY / 2)
    with pytest.raises(ValidationFailed):
        await _change(office, office.anna, record, delegate=office.carl.id)
    with pytest.raises(Forbidden):
        async with office.runtime.uow(office.boss) as uow:
            await delete_record(uow, "delegation", record["id"], expected_version=1)
    # "Now", in whole minutes, is the moment at which it is written.
    await _change(office, office.anna, record, valid_until=office.now().replace(second=0, microsecond=0))
    async with office.runtime.uow(SYSTEM) as uow:
        ended = await uow.scalar(
            text("SELECT valid_until <= now() AND valid_until > now() - interval '5 s' FROM delegation")
        )
    assert ended


async def test_it_is_ended_by_the_absent_or_an_administrator_and_once(office: Office) -> None:
    record = await office.enter(office.anna)
    for who in (office.ben, office.carl):
        with pytest.raises((Forbidden, NotFound)):
            await _revoke(office, who, record["id"])
    await _revoke(office, office.anna, record["id"])
    with pytest.raises(Conflict, match="ended already"):
        await _revoke(office, office.anna, record["id"])
    with pytest.raises(ValidationFailed, match="was ended"):
        await _change(office, office.anna, record, version=2, valid_until=office.now() + 2 * DAY)
    other = await office.enter(office.carl)
    await _revoke(office, office.boss, other["id"])
    async with office.runtime.uow(office.ben) as uow:
        assert await own_delegations(uow) == []
        audited = "SELECT count(*) FROM audit_entry WHERE command = 'delegation.revoke'"
        assert await uow.scalar(text(audited)) == 2


async def _revoke(office: Office, who: Actor, id_: UUID) -> None:
    async with office.runtime.uow(who) as uow:
        await revoke_delegation(uow, delegation_id=id_)


async def _change(office: Office, who: Actor, record: dict[str, Any], *, version: int = 1, **values: Any) -> None:
    async with office.runtime.uow(who) as uow:
        await update_record(uow, "delegation", record["id"], values, expected_version=version)
