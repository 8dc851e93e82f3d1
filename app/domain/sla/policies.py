"""SLA policies that come with the product."""

from uuid import UUID

from sqlalchemy import text

from app.core.uow import UnitOfWork
from app.domain.sla.clock_math import Measure

PROCESS_DEADLINE = "process-deadline"
DEFAULT_WARN_MINUTES = 30

# The row may be an administrator's by now: what it says stays.
_ENSURE = text("""
INSERT INTO sla_policy (id, code, label, measure, pause_on_hold, warn_minutes, active, row_version, created_at,
                        created_by, updated_at, updated_by)
VALUES (uuidv7(), :code, :label, :measure, false, :warn_minutes, true, 1, :at, :by, :at, :by)
ON CONFLICT (code) DO NOTHING
""")
_ID = text("SELECT id FROM sla_policy WHERE code = :code")


async def ensure_shipped_policies(uow: UnitOfWork) -> UUID:
    """Create the policy of process deadlines where there is none; return its id."""
    await uow.execute(
        _ENSURE,
        {
            "code": PROCESS_DEADLINE,
            "label": "Process deadline",
            "measure": Measure.DEADLINE.value,
            "warn_minutes": DEFAULT_WARN_MINUTES,
            "at": uow.now,
            "by": uow.actor.id,
        },
    )
    found: UUID = await uow.scalar(_ID, {"code": PROCESS_DEADLINE})
    return found
