"""Rules, templates and endpoints of the tests, entered as administrators enter them."""

from typing import Any
from uuid import UUID

from app.core.secret_box import SecretBox
from app.domain.entities.service import create_record
from app.domain.notify.rule_book import RULES, NotificationRules
from tests.factories import SYSTEM
from tests.service.notify.desk import Desk

SECRET = "a-secret-of-at-least-24-characters"


async def read_rules(desk: Desk) -> None:
    """Use the rules as they are in the database now, as a process does when it is told of a change."""
    rules = NotificationRules()
    await rules.load(desk.runtime.engine)
    desk.runtime.services = {**desk.runtime.services, RULES: rules}


async def add_rule(desk: Desk, code: str, event: str, recipients: list[dict[str, Any]], **values: Any) -> UUID:
    given = {"code": code, "label": code.replace("_", " ").capitalize(), "event": event, "recipients": recipients}
    async with desk.runtime.uow(SYSTEM) as uow:
        rule = await create_record(uow, "notification_rule", {**given, **values})
    await read_rules(desk)
    id_: UUID = rule["id"]
    return id_


async def tune(desk: Desk, code: str, change: str) -> None:
    """Change a rule by SQL: `mandatory = true`."""
    await desk.run_sql(f"UPDATE notification_rule SET {change} WHERE code = '{code}'")
    await read_rules(desk)


async def prefer(desk: Desk, name: str, settings: str) -> None:
    """Give a person settings, as JSON."""
    await desk.run_sql(f"UPDATE app_user SET notification_settings = '{settings}' WHERE name = '{name}'")


async def add_endpoint(desk: Desk, code: str, address: str, *, kind: str = "webhook", user: UUID | None = None) -> UUID:
    desk.runtime.services = {**desk.runtime.services, "secret_box": SecretBox("k" * 32)}
    given = {"code": code, "label": code, "kind": kind, "address": address, "user": user}
    async with desk.runtime.uow(SYSTEM) as uow:
        made = await create_record(uow, "notification_endpoint", {**given, "secret": SECRET})
    id_: UUID = made["id"]
    return id_
