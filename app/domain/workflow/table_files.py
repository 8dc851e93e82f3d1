"""Reading the table in a csv or xlsx file: headings, number of rows, totals of the columns of numbers. Pure."""

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Context, Decimal
from xml.etree import ElementTree

MOST_UNPACKED = 400_000_000
_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_COLUMN = re.compile(r"[A-Z]+")
_NUMBER = re.compile(r"[+-]?(\d+|\d{1,3}(,\d{3})+)(\.\d*)?([eE][+-]?\d{1,3})?")
_AS_SHOWN = Context(prec=15)  # workbooks keep binary fractions; they are exact to 15 digits


class UnreadableTable(Exception):
    """Words that follow the name of the file."""


@dataclass(frozen=True, slots=True)
class Table:
    """`rows`: of data, without the heading and without empty ones. A column with a text in it has no total."""

    headings: tuple[str, ...]
    rows: int
    totals: dict[str, Decimal]

    def total(self, column: str) -> Decimal | None:
        return self.totals.get(column.strip().casefold())


def read_table(name: str, content: bytes) -> Table:
    """The first row with anything in it is the heading. Raises UnreadableTable."""
    ending = name.rpartition(".")[2].lower()
    if ending == "csv":
        return _table(_csv_rows(content))
    if ending == "xlsx":
        try:
            return _table(_xlsx_rows(content))
        except (zipfile.BadZipFile, ElementTree.ParseError, KeyError, ValueError, IndexError) as error:
            raise UnreadableTable("cannot be read as a workbook. Save it anew and attach it again.") from error
    raise UnreadableTable("is neither csv nor xlsx, so its rows cannot be checked. Attach the table itself.")


def decimal_of(text: str) -> Decimal | None:
    """A number as 1234.5, 1,234.50 or (12.30) for a negative one; None where it is none."""
    plain = text.strip().replace(" ", "").replace("\u00a0", "").replace("\u2212", "-")
    if plain.startswith("(") and plain.endswith(")"):
        plain = f"-{plain[1:-1]}"
    # A comma that divides no thousands is somebody's decimal comma: rather no number than a wrong one.
    return Decimal(plain.replace(",", "")) if _NUMBER.fullmatch(plain) else None


def _table(rows: Iterable[list[str]]) -> Table:
    filled = (row for row in rows if any(cell.strip() for cell in row))
    headings = tuple(cell.strip() for cell in next(iter(filled), []))
    totals: dict[int, Decimal | None] = {}
    count = 0
    for row in filled:
        count += 1
        for index, cell in enumerate(row[: len(headings)]):
            if not cell.strip() or (index in totals and totals[index] is None):
                continue
            value = decimal_of(cell)
            totals[index] = None if value is None else (totals.get(index) or Decimal(0)) + value
    named = {headings[i].casefold(): total for i, total in totals.items() if total is not None}
    return Table(headings, count, named)


def _csv_rows(content: bytes) -> Iterator[list[str]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    first = text.partition("\n")[0]
    delimiter = max((",", ";", "\t"), key=first.count)
    try:
        yield from csv.reader(io.StringIO(text), delimiter=delimiter)
    except csv.Error as error:
        raise UnreadableTable(f"cannot be read as csv: {error}. Save it anew and attach it again.") from error


def _xlsx_rows(content: bytes) -> Iterator[list[str]]:
    """Of the first sheet, by the order of the files in the workbook."""
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        if sum(part.file_size for part in book.infolist()) > MOST_UNPACKED:
            raise UnreadableTable("is too large to be checked. Divide it.")
        names = book.namelist()
        shared: list[str] = []
        if "xl/sharedStrings.xml" in names:
            root = ElementTree.fromstring(book.read("xl/sharedStrings.xml"))  # noqa: S314  (expat bounds entities)
            shared = ["".join(part.text or "" for part in item.iter(f"{_MAIN}t")) for item in root]
        sheet = min(
            (n for n in names if re.fullmatch(r"xl/worksheets/sheet\d+\.xml", n)),
            key=lambda n: int(re.sub(r"\D", "", n)),
        )
        with book.open(sheet) as stream:
            for _, element in ElementTree.iterparse(stream):  # noqa: S314
                if element.tag == f"{_MAIN}row":
                    yield _cells(element, shared)
                    element.clear()


def _cells(row: ElementTree.Element, shared: list[str]) -> list[str]:
    cells: list[str] = []
    for cell in row.iter(f"{_MAIN}c"):
        at = _column(cell.get("r") or "", len(cells))
        cells.extend([""] * (at - len(cells)))
        value = cell.findtext(f"{_MAIN}v") or "".join(part.text or "" for part in cell.iter(f"{_MAIN}t"))
        if cell.get("t") == "s" and value:
            value = shared[int(value)]
        elif cell.get("t") in (None, "n") and _NUMBER.fullmatch(value):
            value = format(_AS_SHOWN.create_decimal(value), "f")
        cells.append(value)
    return cells


def _column(place: str, following: int) -> int:
    """B7 is 1; without a place the one that follows."""
    match = _COLUMN.match(place)
    if match is None:
        return following
    number = 0
    for letter in match[0]:
        number = number * 26 + ord(letter) - 64
    return number - 1
