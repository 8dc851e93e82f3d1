"""Write a tree as CSV, in the form that the import reads."""

import csv
import io
from datetime import date
from typing import Any

from app.core.audit import AuditEntry
from app.core.uow import UnitOfWork
from app.domain.access.decisions import authorize
from app.domain.hierarchy.queries import NODE, tree

COLUMNS = ("code", "parent_code", "label", "valid_from", "valid_to")


async def export_csv(uow: UnitOfWork, *, hierarchy_code: str, as_of: date | None = None) -> str:
    """The nodes in force on that date (today), as far as the actor may export them; each attribute is a column.

    Raises: Forbidden, NotFound.
    """
    decision = authorize(uow, "export", NODE)
    nodes = await tree(uow, hierarchy_code, as_of=as_of, action="export")
    codes = {node.id: node.code for node in nodes}
    attributes = sorted({name for node in nodes for name in node.attributes})
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([_cell(name) for name in (*COLUMNS, *attributes)])
    for node in nodes:
        values = [node.code, codes.get(node.parent_id) if node.parent_id else "", node.label, node.valid_from]
        values += [node.valid_to, *(node.attributes.get(name) for name in attributes)]
        writer.writerow([_cell(value) for value in values])
    uow.audit(
        AuditEntry(
            command=f"{NODE}.export",
            entity=NODE,
            context={"hierarchy": hierarchy_code, "as_of": as_of or uow.now.date(), "rows": len(nodes)},
            grant_id=decision.grant_id,
            allowed_by=decision.allowed_by,
        )
    )
    return text.getvalue()


def _cell(value: Any) -> str:
    """As text that no spreadsheet takes for a formula."""
    shown = "" if value is None else str(value)
    return f"'{shown}" if shown[:1] in ("=", "+", "-", "@", "\t", "\r") else shown
