"""What a signature of a sign-off stood for, and how that compares with what stands there now."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from app.core.audit import plain_value
from app.core.uow import UnitOfWork
from app.domain.workflow.behind import Behind
from app.domain.workflow.content import Content, digest
from app.domain.workflow.process_row import ProcessRow
from app.domain.workflow.states import ProcessKind

KEEP = text("UPDATE process_run SET signed_content = :signed WHERE id = :id").bindparams(
    bindparam("signed", type_=JSONB)
)
READ_KEPT = text("SELECT signed_content::text FROM process_run WHERE id = :id")


@dataclass(frozen=True, slots=True)
class SignedLine:
    """A process behind a sign-off, as it was signed and as it is; None: it was not there, or is not any more."""

    label: str
    id: UUID
    signed: str | None  # its state
    now: str | None
    changed: bool


@dataclass(frozen=True, slots=True)
class Signed:
    """What a sign-off stands for. `changed`: the recomputed hash is another than the one that was signed."""

    lines: tuple[SignedLine, ...]
    figures_changed: bool
    changed: bool
    open: bool  # not signed yet: the lines are what would be signed


async def keep_signed(uow: UnitOfWork, row: ProcessRow, content: Content) -> None:
    """Keep the list of what is signed with the signature."""
    await uow.execute(KEEP, {"id": row.id, "signed": _plain(content)})


async def signed_now(uow: UnitOfWork, row: ProcessRow, content: Content) -> Signed | None:
    """What the sign-off signs, and whether that has changed since; None for any other process."""
    if row.kind is not ProcessKind.SIGN_OFF:
        return None
    kept = orjson.loads(await uow.scalar(READ_KEPT, {"id": row.id}) or "null")
    signed_is_in_force = kept is not None and row.snapshot_hash is not None and bool(row.signers)
    if not signed_is_in_force:
        lines = tuple(SignedLine(item.label, item.id, None, item.state.value, False) for item in content.behind)
        return Signed(lines, figures_changed=False, changed=False, open=True)
    lines = _compared({item["code"]: item for item in kept["behind"]}, {item.code: item for item in content.behind})
    changed = digest(content, row, row.comment) != row.snapshot_hash
    figures = kept["figures"] != orjson.loads(orjson.dumps(_plain(content)["figures"]))
    return Signed(lines, figures_changed=figures, changed=changed, open=False)


def _plain(content: Content) -> dict[str, Any]:
    figures = plain_value({"own": content.figures, "behind": content.behind_figures})
    return {"behind": [item.plain for item in content.behind], "figures": figures}


def _compared(signed: dict[str, dict[str, Any]], now: dict[str, Behind]) -> tuple[SignedLine, ...]:
    lines = [
        SignedLine(
            item.label,
            item.id,
            signed[code]["state"] if code in signed else None,
            item.state.value,
            code not in signed or signed[code]["state"] != item.state or signed[code]["output"] != item.output,
        )
        for code, item in now.items()
    ]
    gone = [code for code in signed if code not in now]
    lines += [SignedLine(signed[c]["label"], UUID(signed[c]["id"]), signed[c]["state"], None, True) for c in gone]
    return tuple(lines)
