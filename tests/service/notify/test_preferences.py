"""What people have chosen counts when they are told: channels, muting, digests, quiet hours, and what stands above."""

from datetime import timedelta

import pytest

from app.domain.notify.preferences import own_settings, save_settings
from app.domain.notify.waiting import release_waiting
from tests.factories import SYSTEM
from tests.service.notify.conftest import Postbox
from tests.service.notify.desk import Desk
from tests.service.notify.rules_of import prefer, tune
from tests.service.notify.test_mail import _read, _text
from tests.service.sla.close import NOON
from tests.service.workflow.bank import manual, reviewed

NIGHT = '{"quiet": {"from": "11:00", "until": "16:00"}}'  # as the clocks of the tests stand, it is noon


async def _sent_off(desk: Desk) -> int:
    async with desk.runtime.uow(SYSTEM) as uow:
        return await release_waiting(uow)


async def _states(desk: Desk) -> dict[str, str]:
    return {mail["recipient"].partition("@")[0]: mail["state"] for mail in await desk.mails()}


async def test_a_person_is_told_over_the_channels_they_chose(mailing_desk: Desk) -> None:
    await prefer(mailing_desk, "preparer", '{"categories": {"assignment": {"channels": ["in_app"]}}}')
    await prefer(mailing_desk, "preparer2", '{"channels": ["email"]}')
    await mailing_desk.run([manual("comment")])
    assert [mail["recipient"] for mail in await mailing_desk.mails()] == ["preparer2@bank.example"]
    shown = await mailing_desk.rows(
        "SELECT u.name, n.in_app FROM notification n JOIN app_user u ON u.id = n.user_id ORDER BY u.name"
    )
    assert [(row["name"], row["in_app"]) for row in shown] == [("preparer", True), ("preparer2", False)]


@pytest.mark.parametrize("change", ["", "mandatory = true", "criticality = 'critical'"])
async def test_what_is_muted_is_told_to_nobody_unless_it_is_mandatory_or_critical(
    mailing_desk: Desk, change: str
) -> None:
    if change:
        await tune(mailing_desk, "released", change)
    await prefer(mailing_desk, "preparer", '{"events": {"released": {"muted": true}}}')
    await mailing_desk.run([manual("comment")])
    assert set(await mailing_desk.told()) == ({"preparer", "preparer2"} if change else {"preparer2"})
    assert len(await mailing_desk.mails()) == (2 if change else 1)


async def test_quiet_hours_hold_a_mail_back_and_lose_nothing(mailing_desk: Desk, postbox: Postbox) -> None:
    await mailing_desk.run_sql("UPDATE app_user SET time_zone = 'UTC'")
    await prefer(mailing_desk, "preparer", NIGHT)
    await mailing_desk.run([manual("comment", deadline="BD+0 23:00 UTC")])
    assert await _states(mailing_desk) == {"preparer": "waiting", "preparer2": "queued"}
    assert set(await mailing_desk.told()) == {"preparer", "preparer2"}  # in the product at once
    await mailing_desk.at(NOON + timedelta(hours=2))
    assert await _sent_off(mailing_desk) == 0
    await mailing_desk.at(NOON + timedelta(hours=5))
    assert await _sent_off(mailing_desk) == 1
    assert (await _states(mailing_desk))["preparer"] == "queued"
    jobs = await mailing_desk.count("SELECT count(*) FROM outbox WHERE job = 'send_mail'")
    assert jobs == 2


async def test_work_that_is_due_within_four_hours_and_what_is_critical_wait_for_nothing(mailing_desk: Desk) -> None:
    await mailing_desk.run_sql("UPDATE app_user SET time_zone = 'UTC'")
    await prefer(mailing_desk, "controller", NIGHT)
    await mailing_desk.run([reviewed("soon", deadline="BD+0 15:00 UTC"), reviewed("later", deadline="BD+0 23:00 UTC")])
    await mailing_desk.forget()
    for code in ("soon", "later"):
        await mailing_desk.do("submit", code, "preparer")
    mails = [mail for mail in await mailing_desk.mails() if mail["recipient"].startswith("controller@")]
    assert {mail["subject"].rpartition(" ")[2]: mail["state"] for mail in mails} == {
        "Soon": "queued", "Later": "waiting",
    }  # fmt: skip


async def test_a_digest_is_one_mail_with_everything_and_nothing_of_what_is_over(
    mailing_desk: Desk, postbox: Postbox
) -> None:
    desk = mailing_desk
    await desk.run_sql("UPDATE app_user SET time_zone = 'UTC'")
    await prefer(desk, "preparer", '{"digest": "hourly"}')
    late = "BD+0 23:00 UTC"
    await desk.run([manual(code, deadline=late) for code in ("one", "two", "three")])
    await desk.do("submit", "three", "preparer2")  # done: nobody needs to be told any more
    await desk.at(NOON + timedelta(hours=1))
    assert await _sent_off(desk) > 0
    states = {
        mail["subject"]: mail["state"] for mail in await desk.mails() if mail["recipient"].startswith("preparer@")
    }
    assert states == {
        "Ready for you: One": "gathered", "Ready for you: Two": "gathered", "Ready for you: Three": "withdrawn",
        "2 messages from STEPS": "queued",
    }  # fmt: skip
    from app.domain.notify.outgoing import send_mail

    digest = next(mail for mail in await desk.mails() if mail["subject"].startswith("2 messages"))
    await send_mail(desk.runtime, digest["id"])
    body = _text(_read(postbox.arrived[0]), "plain")
    assert "Ready for you: One" in body
    assert "Ready for you: Two" in body
    assert "Three" not in body


async def test_two_workers_make_one_digest(mailing_desk: Desk) -> None:
    desk = mailing_desk
    await prefer(desk, "preparer", '{"digest": "hourly"}')
    await desk.run([manual(code, deadline="BD+0 23:00 UTC") for code in ("one", "two")])
    await desk.at(NOON + timedelta(hours=1, minutes=1))
    async with desk.runtime.uow(SYSTEM) as first, desk.runtime.uow(SYSTEM) as second:
        assert await release_waiting(first) == 2
        assert await release_waiting(second) == 0
    assert await desk.count("SELECT count(*) FROM mail_message WHERE subject = '2 messages from STEPS'") == 1


async def test_what_a_person_does_not_need_any_more_stops_asking_in_the_product(desk: Desk) -> None:
    await desk.run([manual("comment")])
    await desk.do("submit", "comment", "preparer")
    await _sent_off(desk)
    over = await desk.rows("SELECT over_at IS NOT NULL AS over FROM notification WHERE kind = 'assignment'")
    assert [row["over"] for row in over] == [True, True]


async def test_people_keep_their_own_settings(desk: Desk) -> None:
    given = {"digest": "daily", "quiet": {"from": "20:00", "until": "07:00"}}
    async with desk.runtime.uow(desk.people["preparer"]) as uow:
        assert await save_settings(uow, given) == given
    async with desk.runtime.uow(desk.people["preparer"]) as uow:
        assert await own_settings(uow) == given
    async with desk.runtime.uow(desk.people["preparer2"]) as uow:
        assert await own_settings(uow) == {}
    trail = await desk.rows("SELECT command FROM audit_entry WHERE command = 'user.prefer'")
    assert len(trail) == 1


@pytest.mark.parametrize("level", ["global", "category", "event"])
async def test_the_merge_in_sql_is_that_of_the_preferences(mailing_desk: Desk, level: str) -> None:
    settings = {
        "global": '{"channels": ["email"]}',
        "category": '{"channels": ["email"], "categories": {"assignment": {"channels": ["in_app"]}}}',
        "event": '{"categories": {"assignment": {"channels": ["in_app"]}},'
        ' "events": {"released": {"channels": ["email"]}}}',
    }  # fmt: skip
    await prefer(mailing_desk, "preparer", settings[level])
    await mailing_desk.run([manual("comment")])
    mailed = {mail["recipient"] for mail in await mailing_desk.mails()}
    assert ("preparer@bank.example" in mailed) is (level != "category")
