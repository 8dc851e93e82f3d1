"""The business rules of the sample bank: written, tested and published as an administrator would."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.core.uow import UnitOfWork
from app.domain.entities.service import create_record
from app.domain.rules.drafts import save_draft
from app.domain.rules.publishing import publish

RECORD = ("code", "label", "kind", "purpose", "description")


async def load_rule(uow: UnitOfWork, given: Mapping[str, Any]) -> UUID:
    """Create a rule out of its file and publish its first version, in force from the day of the unit of work."""
    applications = uow.table("application")
    owner = await uow.scalar(select(applications.c.id).where(applications.c.code == given["application"]))
    record = await create_record(uow, "rule", {**{name: given[name] for name in RECORD}, "application": str(owner)})
    saved = await save_draft(uow, rule_id=record["id"], content=given["content"], tests=given["tests"])
    await publish(uow, version_id=saved.version_id, notes="First version")
    id_: UUID = record["id"]
    return id_
