"""The rate file: the packaged one as it is, and files that are wrong."""

import io
import os
import zipfile
from datetime import date
from decimal import Decimal
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest

from app.domain.finance import rate_file
from app.domain.finance.rate_file import (
    RateFile,
    RateFileError,
    RatesNotInFileError,
    business_dates,
    last_date,
    open_rate_file,
    parse_rate_file,
    rates_for,
    read_day,
)

SMALL = "Date,USD,JPY,CYP,\n2026-10-30,1.1172,175.68,N/A,\n2026-10-29,1.1130,175.92,N/A,\n"


def packaged_lines() -> list[str]:
    content = files("currency_converter").joinpath("eurofxref-hist.zip").read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(archive.namelist()[0]).decode("utf-8-sig").splitlines()


def test_packaged_file_runs_from_the_first_euro_day_to_its_newest_row_in_ascending_order() -> None:
    dates = business_dates()
    lines = packaged_lines()
    assert dates[0] == date(1999, 1, 4)
    assert dates[-1] == last_date() == date.fromisoformat(lines[1].split(",")[0])
    assert len(dates) == len([line for line in lines[1:] if line])
    assert all(earlier < later for earlier, later in pairwise(dates))
    assert all(day.weekday() < 5 for day in dates)


def test_rates_of_the_first_euro_day_are_those_the_ecb_published() -> None:
    rates = rates_for(date(1999, 1, 4))
    assert rates["EUR"] == 1
    assert rates["USD"] == Decimal("1.1789")
    assert rates["GBP"] == Decimal("0.7111")
    assert rates["JPY"] == Decimal("133.73")
    assert "CNY" not in rates


def test_every_cell_of_the_packaged_file_is_read_as_its_exact_text() -> None:
    lines = packaged_lines()
    header = lines[0].split(",")
    cells = 0
    for number in (2, 3, 1000, 3500, len(lines)):
        row = lines[number - 1].split(",")
        day = read_day(None, date.fromisoformat(row[0]))
        assert day.row_number == number
        quoted = {column: text for column, text in zip(header[1:], row[1:], strict=True) if column and text != "N/A"}
        assert {r.currency: r.rate for r in day.rows} == {currency: Decimal(text) for currency, text in quoted.items()}
        for rate in day.rows:
            assert lines[rate.row_number - 1].split(",")[rate.column_number - 1] == quoted[rate.currency]
            cells += 1
    assert cells > 130


def test_a_currency_that_the_ecb_no_longer_quotes_is_listed_as_not_quoted() -> None:
    day = read_day(None, last_date())
    assert "HRK" in day.not_quoted
    assert "HRK" not in day.rates
    assert {row.currency for row in day.rows}.isdisjoint(day.not_quoted)
    assert len(day.rows) + len(day.not_quoted) == len([name for name in packaged_lines()[0].split(",")[1:] if name])


def test_business_dates_between_two_dates_include_both_ends() -> None:
    assert business_dates(date(2024, 3, 28), date(2024, 4, 2)) == (date(2024, 3, 28), date(2024, 4, 2))
    assert business_dates(date(2024, 3, 29), date(2024, 4, 1)) == ()


def test_dates_before_a_day_stop_at_the_day_and_at_the_start_of_the_file() -> None:
    known = open_rate_file()
    assert known.before(date(2024, 4, 2), 2) == (date(2024, 3, 27), date(2024, 3, 28))
    assert known.before(date(1999, 1, 5), 10) == (date(1999, 1, 4),)
    assert known.before(date(1999, 1, 4), 10) == ()


def test_a_day_without_rates_says_which_dates_the_file_covers() -> None:
    with pytest.raises(RatesNotInFileError, match=r"no rates for 2024-03-29: it runs from 1999-01-04 to") as refused:
        read_day(None, date(2024, 3, 29))
    assert (refused.value.code, refused.value.status) == ("rates_not_in_file", 404)


def test_content_hash_depends_on_the_rates_of_the_day_alone() -> None:
    day = date(2026, 10, 30)
    base = parse_rate_file("a.csv", SMALL.encode()).day(day)
    longer = parse_rate_file("b.csv", (SMALL + "2026-10-28,1.2,176,N/A,\n").encode()).day(day)
    padded = parse_rate_file("c.csv", SMALL.replace("1.1172", " 1.11720 ").encode()).day(day)
    reordered = parse_rate_file("d.csv", b"Date,JPY,USD\n2026-10-30,175.68,1.1172\n").day(day)
    corrected = parse_rate_file("e.csv", SMALL.replace("1.1172", "1.1173").encode()).day(day)
    assert base.content_hash == longer.content_hash == padded.content_hash == reordered.content_hash
    assert base.content_hash != corrected.content_hash
    assert base.file_hash != longer.file_hash


def test_a_file_is_parsed_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []
    original = rate_file.parse_rate_file

    def counted(name: str, content: bytes) -> RateFile:
        parsed.append(name)
        return original(name, content)

    monkeypatch.setattr(rate_file, "parse_rate_file", counted)
    path = tmp_path / "rates.csv"
    path.write_text(SMALL)
    assert rates_for(date(2026, 10, 30), path)["USD"] == Decimal("1.1172")
    assert rates_for(date(2026, 10, 29), path)["USD"] == Decimal("1.1130")
    assert parsed == ["rates.csv"]
    path.write_text(SMALL.replace("1.1172", "1.1199"))
    os.utime(path, ns=(1, 1))
    assert rates_for(date(2026, 10, 30), path)["USD"] == Decimal("1.1199")
    assert parsed == ["rates.csv", "rates.csv"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "row 1: the first column must be 'Date'"),
        ("Day,USD\n", "row 1: the first column must be 'Date'"),
        ("Date,USD\n", "no rates"),
        ("Date,USD,usd\n2026-10-30,1,1\n", "row 1, column 3: 'usd'"),
        ("Date,USD,USD\n2026-10-30,1,1\n", "two columns"),
        ("Date,USD\n30 October 2026,1\n", "row 2: '30 October 2026' is not a date"),
        ("Date,USD\n2026-10-30,1\n2026-10-30,1\n", "row 3: 2026-10-30 is also in row 2"),
    ],
)
def test_a_malformed_file_is_refused_with_the_row_to_correct(content: str, message: str) -> None:
    with pytest.raises(RateFileError, match=message):
        parse_rate_file("x.csv", content.encode())


@pytest.mark.parametrize("cell", ["abc", "-1.1", "0", "0.0", "1,1", "1e5", "NaN", "Infinity"])
def test_a_cell_that_is_not_a_positive_number_is_refused_with_its_place(cell: str) -> None:
    known = parse_rate_file("x.csv", f'Date,JPY,USD\n2026-10-30,175,"{cell}"\n'.encode())
    with pytest.raises(RateFileError, match=r"row 2, column 3 \(USD\)"):
        known.day(date(2026, 10, 30))


def test_a_short_row_means_that_the_last_currencies_are_not_quoted() -> None:
    day = parse_rate_file("x.csv", b"Date,USD,JPY\n\n2026-10-30,1.1\n").day(date(2026, 10, 30))
    assert day.not_quoted == ("JPY",)
    assert day.row_number == 3


def test_damaged_and_ambiguous_archives_are_refused() -> None:
    with pytest.raises(RateFileError, match="damaged zip"):
        parse_rate_file("x.zip", b"PK\x03\x04 nothing")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.csv", SMALL)
        archive.writestr("b.csv", SMALL)
    with pytest.raises(RateFileError, match=r"exactly one \.csv file; it holds 2"):
        parse_rate_file("x.zip", stream.getvalue())
    with pytest.raises(RateFileError, match="not UTF-8"):
        parse_rate_file("x.csv", b"Date,\xff")


def test_a_missing_file_is_one_clear_sentence_without_its_folder(tmp_path: Path) -> None:
    with pytest.raises(RateFileError, match=r"rate file gone\.csv cannot be opened") as refused:
        rates_for(date(2026, 10, 30), tmp_path / "gone.csv")
    assert str(tmp_path) not in str(refused.value)
