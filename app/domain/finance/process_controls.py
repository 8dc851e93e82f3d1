"""What finance adds to the controls of a process: every breach commented, and the figures that an approval signs."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import text

from app.core.uow import UnitOfWork
from app.domain.finance.node_figures import BUILDS_ON_FIGURES
from app.domain.workflow.content import UnmetGuard
from app.domain.workflow.process_row import ProcessRow

COMMENT_PER_BREACH = "comment_per_breach"

_OPEN_BREACHES = text(
    """
SELECT b.summary FROM workflow_run r, breach b JOIN hierarchy_node n ON n.id = b.book_id
WHERE r.id = :run_id
  AND b.business_date = r.business_date AND b.state = 'open'
  AND (CAST(:node_id AS uuid) IS NULL OR n.path <@ (SELECT path FROM hierarchy_node WHERE id = :node_id))
ORDER BY b.id LIMIT 20
"""
)
_FIGURES = text(
    f"""
SELECT count(*) AS figures, encode(sha256(coalesce(string_agg(
           f.book_id || '|' || f.measure || '|' || f.currency || '|' || f.source || '|' || f.version, ','
           ORDER BY f.book_id, f.measure, f.currency, f.source), '')::bytea), 'hex') AS hash
FROM workflow_run r JOIN pnl_fact f ON f.business_date = r.business_date AND f.current
    JOIN hierarchy_node n ON n.id = f.book_id
WHERE r.id = :run_id
  AND n.path <@ (SELECT path FROM hierarchy_node WHERE id = :node_id) AND {BUILDS_ON_FIGURES}
"""
)


async def breaches_commented(uow: UnitOfWork, row: ProcessRow) -> Sequence[UnmetGuard]:
    """A process that asks for it is not handed in while a breach of its desk has no commentary."""
    if row.parameters.get(COMMENT_PER_BREACH) is not True:
        return []
    found = await uow.execute(_OPEN_BREACHES, {"run_id": row.run_id, "node_id": row.node_id})
    return [UnmetGuard("breach_commentary", summary, f"Comment on: {summary}") for summary in found.scalars()]


async def signed_figures(uow: UnitOfWork, row: ProcessRow) -> Mapping[str, Any]:
    """The versions of the figures that the process builds on, as one hash, so that a later change of them shows."""
    if row.node_id is None:
        return {}
    found = (
        await uow.execute(_FIGURES, {"run_id": row.run_id, "node_id": row.node_id, "process_run_id": row.id})
    ).one()
    return {"pnl": {"figures": found.figures, "hash": found.hash}} if found.figures else {}
