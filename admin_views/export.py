"""Export of a list: the same rows, order and columns as on the screen, streamed, neutral, on record.

The audit entry with the number of records is committed before the first byte leaves, so that a broken download is on
record as well. Rows are read page by page: a slow client holds no transaction open.
"""

import asyncio
import csv
import io
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response, StreamingResponse

from admin_views.cells import type_of
from admin_views.list_state import read_state
from admin_views.lists import chosen_columns
from app.core.audit import AuditEntry
from app.core.errors import Forbidden, InvalidRequest
from app.domain.access.decisions import authorize
from app.domain.entities.queries import Count, ListQuery, Page, list_records
from models.fieldtypes import kind_of
from models.schema import FieldDef, FieldType

if TYPE_CHECKING:
    from admin_views.base import StepsModelView
    from admin_views.visit import Visit

PAGE_SIZE = 1_000
MOST_SHEET_ROWS = 1_048_575  # and one for the heads
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_EXACT = (FieldType.DECIMAL, FieldType.PERCENT, FieldType.INTEGER, FieldType.SEQUENCE)
# A spreadsheet holds numbers as floats: those with more digits go into it as text, whole.
MOST_SHEET_DIGITS = 15


class Format(StrEnum):
    CSV = "csv"
    XLSX = "xlsx"
    JSON = "json"


async def export_page(visit: "Visit", view: "StepsModelView") -> Response:
    """Answer with the file; the query is that of the list."""
    parameters = visit.request.query_params
    try:
        format_ = Format(parameters.get("format", ""))
    except ValueError:
        raise InvalidRequest(f"format: one of {', '.join(Format)} is needed") from None
    if not view.can_export:
        raise Forbidden(f"{view.entity.label_plural} cannot be exported.")
    state = read_state(parameters, visit.formats)
    if state.problem:
        raise InvalidRequest(state.problem)
    async with visit.uow() as uow:
        decision = authorize(uow, "export", view.entity.name)
        columns = chosen_columns(uow, view.entity, state.columns)
        query = ListQuery(
            filter=state.filter,
            search=state.q,
            sort=state.sort,
            fields=tuple(column.name for column in columns),
            limit=1,
            count=Count.EXACT,
            titles=True,
            action="export",
        )
        count = (await list_records(uow, view.entity.name, query)).count or 0
        if format_ is Format.XLSX and count > MOST_SHEET_ROWS:
            raise InvalidRequest(f"{count} records do not fit into one sheet; narrow the filter or choose CSV.")
        context = {"format": format_, "count": count, "filter": state.filter, "search": state.q, "sort": state.sort}
        uow.audit(
            AuditEntry(
                command=f"{view.entity.name}.export",
                entity=view.entity.name,
                context={**context, "columns": [column.name for column in columns]},
                allowed_by=decision.allowed_by,
                grant_id=decision.grant_id,
            )
        )
        stamp = visit.formats.local(uow.now)
    pages = _pages(visit, view.entity.name, replace(query, limit=PAGE_SIZE, count=Count.NONE))
    name = f"{view.entity.slug}-{stamp:%Y-%m-%d-%H%M}.{format_}"
    return await _RESPONSES[format_](pages, columns, name)


async def _pages(visit: "Visit", entity: str, query: ListQuery) -> AsyncIterator[Page]:
    cursor: str | None = None
    while True:
        async with visit.uow() as uow:
            page = await list_records(uow, entity, replace(query, cursor=cursor))
        yield page
        cursor = page.next_cursor
        if cursor is None:
            return


def neutral(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _heads(columns: Sequence[FieldDef]) -> list[str]:
    heads: list[str] = []
    for column in columns:
        heads.append(column.label)
        if type_of(column) is FieldType.MONEY:
            heads.append(f"{column.label} currency")
    return heads


def _values(columns: Sequence[FieldDef], record: dict[str, Any], titles: dict[str, str | None]) -> list[Any]:
    """The cells of a record: exact numbers, instants in UTC, the titles of what is referred to, else text."""
    values: list[Any] = []
    for column in columns:
        value = record.get(column.name)
        if type_of(column) is FieldType.MONEY and not isinstance(value, str):
            values += [value[0], value[1]] if value else [None, None]
        elif column.is_reference:
            values.append(titles.get(column.name) or (str(value) if value is not None else None))
        elif (
            value is None or (type_of(column) in _EXACT and isinstance(value, Decimal | int)) or isinstance(value, str)
        ):
            values.append(value)
        else:
            values.append(kind_of(column).to_text(value))
    return values


def _rows(page: Page, columns: Sequence[FieldDef]) -> list[list[Any]]:
    return [_values(columns, record, titles) for record, titles in zip(page.records, page.titles, strict=True)]


def _csv_text(value: Any) -> str:
    if value is None:
        return ""
    return (
        format(value, "f") if isinstance(value, Decimal) else neutral(value) if isinstance(value, str) else str(value)
    )


async def _csv(pages: AsyncIterator[Page], columns: Sequence[FieldDef], name: str) -> Response:
    async def body() -> AsyncIterator[bytes]:
        buffer = io.StringIO()
        writer = csv.writer(buffer)
        writer.writerow([neutral(head) for head in _heads(columns)])
        # The mark tells spreadsheets that it is UTF-8.
        yield b"\xef\xbb\xbf" + _taken(buffer)
        async for page in pages:
            writer.writerows([_csv_text(value) for value in row] for row in _rows(page, columns))
            yield _taken(buffer)

    return StreamingResponse(body(), media_type="text/csv; charset=utf-8", headers=_headers(name))


def _taken(buffer: io.StringIO) -> bytes:
    data = buffer.getvalue().encode()
    buffer.seek(0)
    buffer.truncate()
    return data


async def _json(pages: AsyncIterator[Page], columns: Sequence[FieldDef], name: str) -> Response:
    names = [column.name for column in columns]

    async def body() -> AsyncIterator[bytes]:
        separator = b"[\n"
        async for page in pages:
            for item, titles in zip(page.items, page.titles, strict=True):
                shown = {"id": item["id"], **{name: item.get(name) for name in names}}
                shown |= {f"{name}_title": titles[name] for name in names if name in titles}
                yield separator + orjson.dumps(shown, default=str)
                separator = b",\n"
        yield b"[]\n" if separator == b"[\n" else b"\n]\n"

    return StreamingResponse(body(), media_type="application/json", headers=_headers(name))


async def _xlsx(pages: AsyncIterator[Page], columns: Sequence[FieldDef], name: str) -> Response:
    """A workbook is written to a temporary file row by row, in a thread, and sent from there."""
    with tempfile.NamedTemporaryFile(prefix="steps-export-", suffix=".xlsx", delete=False) as file:
        path = Path(file.name)
    try:
        import xlsxwriter  # 6 MB that a process needs only once somebody exports

        workbook = xlsxwriter.Workbook(path, {"constant_memory": True, "strings_to_formulas": False})
        sheet = workbook.add_worksheet("Export")
        bold = workbook.add_format({"bold": True})
        sheet.freeze_panes(1, 0)
        sheet.write_row(0, 0, _heads(columns), bold)
        number = 1
        async for page in pages:
            await asyncio.to_thread(_write_rows, sheet, number, _rows(page, columns))
            number += len(page.records)
        sheet.autofilter(0, 0, max(number - 1, 0), max(len(_heads(columns)) - 1, 0))
        await asyncio.to_thread(workbook.close)
    except BaseException:
        await asyncio.shield(asyncio.to_thread(path.unlink, missing_ok=True))
        raise
    media_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    cleanup = BackgroundTask(path.unlink, missing_ok=True)
    return FileResponse(path, media_type=media_type, headers=_headers(name), background=cleanup)


def _write_rows(sheet: Any, first: int, rows: Sequence[Sequence[Any]]) -> None:
    for number, row in enumerate(rows, start=first):
        for place, value in enumerate(row):
            if value is None or value == "":
                continue
            if isinstance(value, Decimal | int) and len(str(value).strip("-0").replace(".", "")) <= MOST_SHEET_DIGITS:
                sheet.write_number(number, place, value)
            else:
                sheet.write_string(number, place, neutral(value) if isinstance(value, str) else str(value))


def _headers(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}


_RESPONSES: dict[Format, Callable[..., Awaitable[Response]]] = {
    Format.CSV: _csv,
    Format.XLSX: _xlsx,
    Format.JSON: _json,
}
