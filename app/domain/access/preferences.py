"""How a person wants the screens: theme, contrast, density, zone, locale, first page. Each sets their own."""

import re
from collections.abc import Mapping
from zoneinfo import available_timezones

from sqlalchemy import select, update

from app.core.audit import AuditEntry
from app.core.errors import FieldProblem, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.actors import changing_id, own_id

NAMES = ("theme", "contrast", "density")


async def set_preference(uow: UnitOfWork, *, name: str, value: str) -> None:
    """Set one of the actor's own preferences.

    Raises:
        ValidationFailed: there is no such preference or no such choice.
    """
    user_id = changing_id(uow)
    if name not in NAMES:
        raise ValidationFailed([FieldProblem("name", f"must be one of {', '.join(NAMES)}")])
    choices = [option.value for option in uow.registry.entity("user").field(name).options]
    if value not in choices:
        raise ValidationFailed([FieldProblem(name, f"must be one of {', '.join(choices)}")])
    users = uow.table("user")
    before = await uow.scalar(select(users.c[name]).where(users.c.id == user_id).with_for_update(key_share=True))
    if before == value:
        return
    # No new row_version: an administrator's open form of this user must not go stale because somebody likes it dark.
    await uow.execute(update(users).where(users.c.id == user_id).values({name: value}))
    entry = AuditEntry(
        command="user.prefer", entity="user", record_id=user_id, before={name: before}, after={name: value}
    )
    uow.audit(entry)


PROFILE = ("time_zone", "locale", "landing_page")
_LOCALE = re.compile(r"[a-z]{2}(-[A-Z]{2})?")
_PAGE = re.compile(r"/([A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*)?")


async def own_profile(uow: UnitOfWork) -> dict[str, str | None]:
    """The actor's own time zone, locale and first page."""
    users = uow.table("user")
    row = (await uow.execute(select(*(users.c[name] for name in PROFILE)).where(users.c.id == own_id(uow)))).one()
    return dict(zip(PROFILE, row, strict=True))


async def set_profile(uow: UnitOfWork, given: Mapping[str, str]) -> None:
    """Set the actor's own time zone, locale and first page; empty means the usual one.

    Raises:
        ValidationFailed: with each that cannot be.
    """
    user_id = changing_id(uow)
    values = {name: given.get(name) or None for name in PROFILE if name in given}
    problems: list[FieldProblem] = []
    zone = values.get("time_zone")
    if zone is not None and zone != "UTC" and ("/" not in zone or zone not in available_timezones()):
        problems.append(FieldProblem("time_zone", "must be a place such as Europe/Berlin, or UTC"))
    if values.get("locale") is not None and not _LOCALE.fullmatch(values["locale"] or ""):
        problems.append(FieldProblem("locale", "must be a language and country such as en-GB"))
    page = values.get("landing_page")
    if page is not None and (len(page) > 200 or not _PAGE.fullmatch(page)):
        problems.append(FieldProblem("landing_page", "must be a page of this site, such as /runs"))
    if problems:
        raise ValidationFailed(problems)
    users = uow.table("user")
    columns = [users.c[name] for name in values]
    chosen = select(*columns).where(users.c.id == user_id).with_for_update(key_share=True)
    before = dict(zip(values, (await uow.execute(chosen)).one(), strict=True))
    if before == values:
        return
    await uow.execute(update(users).where(users.c.id == user_id).values(values))
    uow.audit(AuditEntry(command="user.prefer", entity="user", record_id=user_id, before=before, after=values))
