"""What a rejection says beside its words: a reason from the list that administrators keep, and how far back it goes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import text

from app.core.errors import FieldProblem, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.workflow.acting import Command
from app.domain.workflow.process_row import ProcessRow, ids

# The codes to choose from, and who has signed the levels that stay signed.
READ_REASONS = text(
    """
SELECT ARRAY(SELECT code FROM rejection_reason WHERE active ORDER BY rank, code) AS codes,
       (SELECT jsonb_agg(DISTINCT x.id) FROM process_approval s
        CROSS JOIN LATERAL (VALUES (s.actor_id), (s.on_behalf_of_id)) AS x (id)
        WHERE s.process_run_id = :id AND s.decision = 'approved' AND s.voided_at IS NULL
          AND s.level < CAST(:to_level AS int) AND x.id IS NOT NULL)::text AS signers
"""
)


async def rejecting(uow: UnitOfWork, row: ProcessRow, command: Command, data: Mapping[str, Any]) -> Command:
    """Complete the command of a rejection from `reason_code` and `to_level`. Raises: ValidationFailed."""
    code, to_level = data.get("reason_code") or None, data.get("to_level")
    problems: list[FieldProblem] = []
    if to_level is not None and not (isinstance(to_level, int) and 1 <= to_level < row.level):
        earlier = f"a level from 1 to {row.level - 1}, or none" if row.level > 1 else "none: there is no earlier level"
        problems.append(FieldProblem("to_level", f"Choose {earlier}.", "out_of_range"))
        to_level = None
    found = (await uow.execute(READ_REASONS, {"id": row.id, "to_level": to_level})).one()
    if found.codes and code is None:
        problems.append(FieldProblem("reason_code", f"Choose a reason: {', '.join(found.codes)}.", "required"))
    elif code is not None and code not in found.codes:
        known = ", ".join(found.codes) or "none yet"
        problems.append(FieldProblem("reason_code", f"There is no reason {code}; there is: {known}.", "unknown"))
    if problems:
        raise ValidationFailed(problems)
    return replace(command, reason_code=code, to_level=to_level, kept_signers=ids(found.signers))
