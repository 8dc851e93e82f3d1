"""Rules as rows: those of the product, tuned ones, and ones of administrators, on work and on records."""

import pytest

from app.core.errors import Forbidden, ValidationFailed
from app.core.events import DeliveryFailed
from app.domain.entities.service import create_record, delete_record
from app.domain.lifecycles.events import RecordEventEmitted
from models.base import uuid7
from tests.factories import SYSTEM
from tests.service.notify.desk import Desk
from tests.service.notify.rules_of import add_rule, read_rules, tune
from tests.service.workflow.bank import manual, reviewed


async def test_the_rules_of_the_product_are_rows_written_once(desk: Desk) -> None:
    rows = await desk.rows("SELECT code, event, protected FROM notification_rule ORDER BY code")
    assert {row["code"] for row in rows} >= {"released", "review", "breach", "record_notice"}
    assert all(row["protected"] and row["code"] == row["event"] for row in rows)
    lines = await desk.rows(
        "SELECT l.kind FROM notification_recipient l JOIN notification_rule r ON r.id = l.parent_id"
        " WHERE r.code = 'breach' ORDER BY l.kind"
    )
    assert [line["kind"] for line in lines] == ["lead", "waiting"]


async def test_a_rule_of_the_product_can_be_switched_off_but_not_deleted(desk: Desk) -> None:
    await tune(desk, "released", "active = false")
    await desk.run([manual("comment")])
    assert await desk.told() == {}
    row = (await desk.rows("SELECT id, row_version FROM notification_rule WHERE code = 'released'"))[0]
    with pytest.raises(Forbidden, match="part of the product"):
        async with desk.runtime.uow(SYSTEM) as uow:
            await delete_record(uow, "notification_rule", row["id"], expected_version=row["row_version"])


async def test_a_rule_of_an_administrator_tells_others_beside_the_shipped_one_where_its_condition_holds(
    desk: Desk,
) -> None:
    recipients = [{"kind": "user", "user": str(desk.people["em"].id)}, {"kind": "role", "role": "desk_head"}]
    await add_rule(desk, "critical_work", "released", recipients, condition={"code": "comment"}, category="warning")
    await desk.run([manual("comment"), manual("other")])
    told = await desk.told("warning")
    assert set(told) == {"em", "desk_head"}
    assert told["em"] == ["Critical work: Comment"]
    assert set(await desk.told("assignment")) == {"preparer", "preparer2"}


async def test_people_of_a_group_and_followers_with_a_role_there_are_told_once(desk: Desk) -> None:
    em, g10 = desk.people["em"].id, desk.people["g10"].id
    await desk.run([reviewed("comment", node="G10")])
    process_id = (await desk.row("comment"))["id"]
    for follower in (em, g10):  # the grant of em does not cover the node
        await desk.run_sql(
            "INSERT INTO record_watch (id, row_version, created_at, updated_at, user_id, record_entity, record_id)"
            f" VALUES ('{uuid7()}', 1, now(), now(), '{follower}', 'process_run', '{process_id}')"
        )
    await add_rule(desk, "followed", "review", [{"kind": "watchers"}, {"kind": "owner"}])
    await desk.forget()
    await desk.do("submit", "comment", "preparer")
    told = await desk.told("system")
    assert set(told) == {"preparer", "preparer2", "g10"}
    assert told["g10"] == ["Followed: Comment"]


async def test_records_that_are_created_and_events_of_records_are_told(desk: Desk) -> None:
    role = [{"kind": "role", "role": "controller"}]
    await add_rule(desk, "new_application", "record_created", role, entity="application", condition={"code": "NEW"})
    await add_rule(desk, "any_event", "record_event", role, entity="application", name="confirmed")
    async with desk.runtime.uow(SYSTEM) as uow:
        made = await create_record(uow, "application", {"code": "NEW", "label": "New one"})
        await create_record(uow, "application", {"code": "OTHER", "label": "Other"})
        for name in ("confirmed", "refused"):
            uow.emit(RecordEventEmitted(at=uow.now, entity="application", record_id=made["id"], name=name))
    told = await desk.told("system")
    assert set(told) == {"controller", "controller2", "g10_controller"}  # it lies nowhere in particular
    assert told["controller"] == ["New application: Application New one", "Any event: Application New one"]


async def test_a_message_that_cannot_be_delivered_is_told_and_that_never_goes_in_circles(desk: Desk) -> None:
    await add_rule(desk, "bounced", "delivery_failed", [{"kind": "role", "role": "operations"}], category="failure")
    await desk.run([manual("comment")])
    mail = (await desk.mails())[0]["id"]
    async with desk.runtime.uow(SYSTEM) as uow:
        for rule in ("released", "delivery_failed"):
            uow.emit(
                DeliveryFailed(
                    at=uow.now, delivery_id=mail, channel="email", rule=rule, user_id=None, record_entity=None,
                    record_id=None, error="550 no such mailbox",
                )
            )  # fmt: skip
    told = await desk.told("failure")
    assert told["operations"] == ["Bounced: Delivery Ready for you: Comment"]


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"event": "record_created", "entity": "nothing"}, "entity"),
        ({"event": "record_created", "entity": "mail_message"}, "entity"),
        ({"event": "released", "condition": {"nothing": 1}}, "condition"),
        ({"event": "record_changed", "entity": "trade", "changed_fields": "nothing"}, "changed_fields"),
        ({"event": "released", "recipients": []}, "recipients"),
        ({"event": "released", "recipients": [{"kind": "role", "role": "nobody"}]}, "recipients"),
        ({"event": "record_created", "entity": "trade", "recipients": [{"kind": "makers"}]}, "recipients"),
    ],
)
async def test_a_rule_that_could_never_tell_anything_is_refused_at_the_field(
    desk: Desk, values: dict[str, object], path: str
) -> None:
    given = {"code": "new", "label": "New", "recipients": [{"kind": "lead"}], **values}
    with pytest.raises(ValidationFailed) as refused:
        async with desk.runtime.uow(SYSTEM) as uow:
            await create_record(uow, "notification_rule", given)
    assert path in [problem.path for problem in refused.value.problems]


async def test_another_process_hears_that_a_rule_has_changed(desk: Desk) -> None:
    await read_rules(desk)
    heard = await desk.listen()
    await add_rule(desk, "new", "released", [{"kind": "lead"}])
    assert "notification_rules" in ",".join(await heard()).split(",")
