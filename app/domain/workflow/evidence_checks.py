"""Whether an attached table is what was asked for: enough rows, and a column whose total ties to a figure."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from app.core.file_store import FileStore
from app.core.uow import UnitOfWork
from app.domain.workflow.table_files import Table, UnreadableTable, decimal_of, read_table

if TYPE_CHECKING:
    from app.domain.workflow.content import EvidenceFile, EvidenceItem

FILE_STORE = "file_store"
MOST_BYTES = 30_000_000
_KEPT = 128


@dataclass(frozen=True, slots=True)
class UnfitFile:
    """`satisfy` says what is wrong with it and what to attach instead."""

    label: str
    satisfy: str


async def unfit_files(
    uow: UnitOfWork, evidence: Sequence["EvidenceItem"], files: Sequence["EvidenceFile"], figures: Mapping[str, Any]
) -> tuple[UnfitFile, ...]:
    """What is wrong with the files that are there. A file is read once: it is known by its hash."""
    found: list[UnfitFile] = []
    for wanted in evidence:
        if not (wanted["min_rows"] or wanted["tie_column"]):
            continue
        for file in files:
            if file["purpose"] != wanted["code"]:
                continue
            try:
                problem = unfit(await _table(uow, file), wanted, figures)
            except UnreadableTable as error:
                problem = str(error)
            if problem:
                satisfy = f"“{file['name']}” {problem}"
                found.append(UnfitFile(wanted["label"], satisfy))
    return tuple(found)


def unfit(table: Table, wanted: "EvidenceItem", figures: Mapping[str, Any]) -> str:
    """What is wrong with it; empty where nothing is."""
    least, column, figure = wanted["min_rows"], wanted["tie_column"], wanted["tie_figure"]
    if least and table.rows < least:
        return f"has {table.rows:,} rows of data; at least {least:,} are needed. Attach the complete file."
    if not column or not figure:
        return ""
    total = table.total(column)
    if total is None:
        known = ", ".join(table.headings[:12]) or "none"
        return f"has no column {column} of numbers. Its columns are {known}."
    wanted_total = decimal_of(figure) if decimal_of(figure) is not None else _figure(figures, figure)
    if wanted_total is None:
        return f"cannot be tied out: the figure {figure} is not there yet. Wait for it, or ask an administrator."
    if total != wanted_total:
        apart = f"{total - wanted_total:,}"
        return f"does not tie out: {column} adds up to {total:,}, {figure} is {wanted_total:,}, {apart} apart. Mend it."
    return ""


def _figure(figures: Mapping[str, Any], name: str) -> Decimal | None:
    value: Any = figures
    for step in name.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return None if value is None or isinstance(value, bool | Mapping | list) else decimal_of(str(value))


async def _table(uow: UnitOfWork, file: "EvidenceFile") -> Table:
    kept = _tables().get(file["sha256"])
    if kept is not None:
        return kept
    store: FileStore = uow.resources.services[FILE_STORE]
    content = bytearray()
    async for chunk in await store.open(file["sha256"]):
        content += chunk
        if len(content) > MOST_BYTES:
            raise UnreadableTable(f"is larger than {MOST_BYTES // 1_000_000} MB, so it is not checked. Divide it.")
    table = await asyncio.to_thread(read_table, file["name"], bytes(content))
    tables = _tables()
    if len(tables) >= _KEPT:
        tables.pop(next(iter(tables)))
    tables[file["sha256"]] = table
    return table


@lru_cache(maxsize=1)
def _tables() -> dict[str, Table]:
    """Tables by the hash of their file, which never changes; the oldest goes first."""
    return {}
