"""Groups, delegations, duty rules and reasons in the database, and levels of several signatures in one line."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from tests.factories import SYSTEM, add_row
from tests.service.workflow.bank import Bank


async def group(bank: Bank, code: str, *members: str) -> UUID:
    async with bank.runtime.uow(SYSTEM) as uow:
        id_ = await add_row(uow, "user_group", code=code, label=code.title(), active=True)
        for position, name in enumerate(members):
            await add_row(uow, "user_group_member", parent_id=id_, position=position, user_id=bank.people[name].id)
    return id_


async def stands_in(
    bank: Bank,
    delegate: str,
    delegator: str,
    *,
    since: timedelta = timedelta(hours=-1),
    until: timedelta = timedelta(hours=8),
    application: str | None = None,
    revoked_at: datetime | None = None,
) -> UUID:
    """A delegation from `since` to `until`, counted from now."""
    async with bank.runtime.uow(SYSTEM) as uow:
        return await add_row(
            uow,
            "delegation",
            delegator_id=bank.people[delegator].id,
            delegate_id=bank.people[delegate].id,
            application_id=bank.applications[application] if application else None,
            valid_from=uow.now + since,
            valid_until=uow.now + until,
            reason="Leave",
            revoked_at=revoked_at,
        )


async def duty_rule(bank: Bank, one: str, other: str, *, part: str = "any", other_part: str = "any") -> None:
    async with bank.runtime.uow(SYSTEM) as uow:
        workflow_id = await uow.scalar(uow.table("workflow").select().with_only_columns(uow.table("workflow").c.id))
        await add_row(
            uow, "duty_rule", code=f"{one}_{other}", label="who loads does not release", workflow_id=workflow_id,
            part=part, process_code=one, other_part=other_part, other_process_code=other, active=True,
        )  # fmt: skip


async def reason(bank: Bank, code: str, *, active: bool = True) -> None:
    async with bank.runtime.uow(SYSTEM) as uow:
        await add_row(uow, "rejection_reason", code=code, label=code.title(), rank=0, active=active)


def signed_by(code: str, *levels: dict[str, Any], **values: Any) -> dict[str, Any]:
    """Manual work whose levels are written out: `signed_by("a", {"role": "controller", "needed": 2})`."""
    numbered = [{"level": number, **level} for number, level in enumerate(levels, start=1)]
    return {"code": code, "kind": "manual", "owner_role": "preparer", "approval_levels": numbered, **values}
