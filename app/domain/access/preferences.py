"""How a person wants the screens: theme, contrast, density. Each sets their own."""

from sqlalchemy import select, update

from app.core.audit import AuditEntry
from app.core.errors import FieldProblem, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.actors import changing_id

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
