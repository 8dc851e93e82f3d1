"""The clocks of a record, for the line under its title."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from app.core.uow import UnitOfWork
from app.domain.sla.clock_math import ClockStatus
from app.domain.sla.compiled import SERVICE, SlaPolicies
from app.domain.sla.queries import ClockView, Urgency, clocks_of

if TYPE_CHECKING:
    from admin_views.visit import Visit

WORDS = {
    Urgency.CALM: "due {due}", Urgency.SOON: "due soon: {due}", Urgency.LATE: "late since {due}",
    Urgency.PAUSED: "paused", Urgency.MET: "in time", Urgency.MISSED: "was late", Urgency.NONE: "called off",
}  # fmt: skip


async def clock_facts(visit: "Visit", uow: UnitOfWork, entity: str, record_id: UUID) -> list[dict[str, Any]]:
    """One line for each clock of the record that the person sees; no statement for entities without policies."""
    policies: SlaPolicies | None = uow.resources.services.get(SERVICE)
    if policies is None or entity not in policies.watched or visit.may("read", "sla_clock") is None:
        return []
    clocks = await clocks_of(uow, record_entity=entity, record_ids=[record_id])
    return [
        {"label": clock.policy, "value": _words(visit, uow, clock), "href": f"/sla/clocks/{clock.id}"}
        for clock in clocks
    ]


def _words(visit: "Visit", uow: UnitOfWork, clock: ClockView) -> str:
    if clock.state is ClockStatus.PAUSED and clock.urgency is Urgency.LATE:
        return "late, paused"
    return WORDS[clock.urgency].format(due=visit.formats.moment(clock.due_at, uow.now))
