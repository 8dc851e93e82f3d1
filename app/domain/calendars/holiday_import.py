"""Public holidays as a source for calendars, to be reviewed by a person before they are published.

Source: the package `holidays`. London takes the bank holidays of England; New York takes the days on which the Federal
Reserve, and so Fedwire, is closed (a holiday on a Saturday does not close the Friday before it); NYSE the exchange's.
"""

from __future__ import annotations

from collections.abc import Iterable
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


def holidays_for(source: str, years: Iterable[int]) -> list[tuple[date, str]]:
    """Return the dates and English names of the holidays of these years, in order of date.

    Raises:
        HolidaysUnavailable: the source or a year is not known.
    """
    try:
        known = HolidaySource(source)
    except ValueError:
        raise HolidaysUnavailable(
            f"There is no holiday source {source!r}: choose one of {', '.join(HolidaySource)}."
        ) from None
    wanted = sorted(set(years))
    for year in wanted:
        if not _FIRST_YEAR[known] <= year <= _LAST_YEAR:
            raise HolidaysUnavailable(
                f"The {known} holidays are known for {_FIRST_YEAR[known]} to {_LAST_YEAR}, not for {year}."
            )
    if not wanted:
        return []
    return sorted(_load(known, wanted).items())


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
