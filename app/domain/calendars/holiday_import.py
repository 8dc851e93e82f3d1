"""Public holidays as a source for calendars, to be reviewed by a person before they are published.

Source: the package `holidays`. A source is one of those named below, a country (`DE`), a part of one (`DE-BY`), or an
exchange by its market identifier (`XETR`). London takes the bank holidays of England; New York takes the days on which
the Federal Reserve, and so Fedwire, is closed (a holiday on a Saturday does not close the Friday before it); NYSE the
exchange's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

import holidays

from app.domain.calendars.errors import HolidaysUnavailable


class HolidaySource(StrEnum):
    """The holiday lists that can be imported."""

    TARGET = "TARGET"
    LONDON = "LONDON"
    NEWYORK = "NEWYORK"
    NYSE = "NYSE"


_FIRST_YEAR = {
    HolidaySource.TARGET: 1999,  # TARGET opened in 1999
    HolidaySource.LONDON: 1971,  # Banking and Financial Dealings Act 1971
    HolidaySource.NEWYORK: 1999,  # as far back as the package lists the Federal Reserve
    HolidaySource.NYSE: 1971,
}
_LAST_YEAR = 2099
_PLACE = re.compile(r"([A-Z]{2})(?:-([A-Z0-9]{1,4}))?", re.ASCII)
_EXCHANGE = re.compile(r"X[A-Z]{3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Kind:
    """How the package names a source, and the years for which it lists holidays."""

    first_year: int
    last_year: int
    load: Callable[[list[int]], holidays.HolidayBase]


def holidays_for(source: str, years: Iterable[int]) -> list[tuple[date, str]]:
    """Return the dates and English names of the holidays of these years, in order of date.

    Raises:
        HolidaysUnavailable: the source or a year is not known.
    """
    known = _source(source)
    wanted = sorted(set(years))
    for year in wanted:
        if not known.first_year <= year <= known.last_year:
            raise HolidaysUnavailable(
                f"The {source} holidays are known for {known.first_year} to {known.last_year}, not for {year}."
            )
    if not wanted:
        return []
    return sorted(known.load(wanted).items())


def known_places() -> list[tuple[str, str]]:
    """The sources beside the named ones, as (code, kind): countries and exchanges, to choose from."""
    exchanges = (code for code in holidays.list_supported_financial() if _EXCHANGE.fullmatch(code))
    countries = (code for code in holidays.list_supported_countries(include_aliases=False) if _PLACE.fullmatch(code))
    return [*((code, "Country") for code in sorted(countries)), *((code, "Exchange") for code in sorted(exchanges))]


def _source(name: str) -> _Kind:
    if name in list(HolidaySource):
        source = HolidaySource(name)
        return _Kind(_FIRST_YEAR[source], _LAST_YEAR, lambda years: _load(source, years))
    place = _PLACE.fullmatch(name)
    countries = holidays.list_supported_countries(include_aliases=False)
    if place is not None and place[1] in countries and (place[2] is None or place[2] in countries[place[1]]):
        country, part = place[1], place[2]
        return _of_package(
            lambda years, language: holidays.country_holidays(
                country, subdiv=part, years=years, expand=False, language=language
            )
        )
    if _EXCHANGE.fullmatch(name) and name in holidays.list_supported_financial():
        return _of_package(
            lambda years, language: holidays.financial_holidays(name, years=years, expand=False, language=language)
        )
    raise HolidaysUnavailable(
        f"There is no holiday source {name!r}: choose one of {', '.join(HolidaySource)}, a country such as DE or "
        "DE-BY, or an exchange such as XETR."
    )


def _of_package(load: Callable[[list[int], str | None], holidays.HolidayBase]) -> _Kind:
    """What the package says of itself; names are English where it has them in English."""
    empty = load([], None)
    english = next((each for each in ("en_US", "en_GB") if each in empty.supported_languages), None)
    first, last = max(empty.start_year, 1901), min(empty.end_year, _LAST_YEAR)
    return _Kind(first, last, lambda years: load(years, english))


def _load(source: HolidaySource, years: list[int]) -> holidays.HolidayBase:
    # Without `expand=False` the package adds years by itself as dates are looked up.
    match source:
        case HolidaySource.TARGET:
            return holidays.financial_holidays("ECB", years=years, expand=False)
        case HolidaySource.LONDON:
            return holidays.country_holidays("GB", subdiv="ENG", years=years, expand=False)
        case HolidaySource.NEWYORK:
            return holidays.financial_holidays("FED", years=years, expand=False)
        case HolidaySource.NYSE:
            return holidays.financial_holidays("NYSE", years=years, expand=False)
