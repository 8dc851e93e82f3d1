"""How values look to a person: numbers in the person's locale, times in the person's zone with the zone shown."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from models.fieldtypes.number import plain

MINUS = "\u2212"
NARROW_SPACE = "\u202f"
FALLBACK_ZONE = "UTC"

# Language -> group separator and decimal sign; every other language writes as English does.
_SEPARATORS = {
    "de": (".", ","), "nl": (".", ","), "es": (".", ","), "it": (".", ","), "pt": (".", ","), "da": (".", ","),
    "fr": (NARROW_SPACE, ","), "pl": (NARROW_SPACE, ","), "sv": (NARROW_SPACE, ","), "fi": (NARROW_SPACE, ","),
    "cs": (NARROW_SPACE, ","), "nb": (NARROW_SPACE, ","), "no": (NARROW_SPACE, ","),
}  # fmt: skip
_BY_REGION = {"de-CH": ("\u2019", "."), "de-LI": ("\u2019", "."), "es-MX": (",", ".")}
_BLANKS = re.compile(r"[\s\u00a0\u202f]")


@dataclass(frozen=True, slots=True)
class Formats:
    """One person's way to write numbers and times."""

    zone: ZoneInfo
    group: str = ","
    point: str = "."

    def number(self, value: Decimal | int, *, places: int | None = None, least: int = 0) -> str:
        """A number with separators and a true minus; rounded to `places`, or exact with at least `least` decimals."""
        exact = Decimal(value)
        if places is not None:
            exact = exact.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)
            text = format(abs(exact), "f")
        else:
            text = plain(abs(exact))
            whole, _, decimals = text.partition(".")
            text = f"{whole}.{decimals.ljust(least, '0')}" if least else text
        whole, _, decimals = text.partition(".")
        grouped = f"{int(whole):,}".replace(",", self.group)
        sign = MINUS if exact < 0 and text.strip("0.") else ""
        return f"{sign}{grouped}{self.point}{decimals}" if decimals else f"{sign}{grouped}"

    def read_number(self, text: str) -> str:
        """What a person typed as a plain number text; text that is none comes back as it is, to be refused later."""
        cleaned = _BLANKS.sub("", text).replace(MINUS, "-")
        whole, point, decimals = cleaned.partition(self.point)
        if point and self.point != "." and self.point in decimals:
            return text
        return whole.replace(self.group, "") + ("." + decimals if point else "")

    def date(self, value: date) -> str:
        return f"{value.day} {value:%b} {value.year}"

    def local(self, value: datetime) -> datetime:
        return value.astimezone(self.zone)

    def zone_name(self, value: datetime) -> str:
        """The zone's short name at that instant, such as CET."""
        name = self.local(value).tzname() or ""
        return f"UTC{name}" if name.startswith(("+", "-")) else name

    def instant(self, value: datetime, *, zone: bool = True) -> str:
        here = self.local(value)
        shown = f"{self.date(here.date())} {here:%H:%M}"
        return f"{shown} {self.zone_name(value)}" if zone else shown

    def moment(self, value: datetime, now: datetime) -> str:
        """An instant as it is said in a list of events: "today 16:31 CET"."""
        here, today = self.local(value), self.local(now).date()
        day = {0: "today", 1: "yesterday"}.get((today - here.date()).days, self.date(here.date()))
        return f"{day} {here:%H:%M} {self.zone_name(value)}"

    def wall(self, value: datetime) -> str:
        """An instant as a datetime-local control holds it: the wall time in the person's zone."""
        here = self.local(value).replace(tzinfo=None)
        return here.isoformat(timespec="seconds" if here.second else "minutes")

    def from_wall(self, text: str) -> str:
        """A wall time typed in the person's zone as an instant; what is none comes back as it is.

        A time that the clocks jump over is taken as the instant after the jump, one that occurs twice as the first.
        """
        try:
            value = datetime.fromisoformat(text.strip())
        except ValueError:
            return text
        if value.tzinfo is None:
            value = value.replace(tzinfo=self.zone)
        try:
            return value.astimezone(UTC).isoformat()
        except OverflowError:
            return text


def duration(value: timedelta) -> str:
    """A length of time in words: "1 d 2 h 30 min"."""
    sign, value = (MINUS, -value) if value < timedelta(0) else ("", value)
    hours, rest = divmod(value.seconds, 3600)
    parts = ((value.days, "d"), (hours, "h"), (rest // 60, "min"), (rest % 60, "s"))
    return sign + (" ".join(f"{number} {unit}" for number, unit in parts if number) or "0 min")


def clock_time(value: time) -> str:
    return value.isoformat(timespec="seconds" if value.second else "minutes")


@lru_cache(maxsize=512)
def formats_of(time_zone: str, locale: str) -> Formats:
    """The formats of a zone and a locale such as de-DE; an unknown zone is shown as UTC."""
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        zone = ZoneInfo(FALLBACK_ZONE)
    group, point = _BY_REGION.get(locale) or _SEPARATORS.get(locale.split("-", maxsplit=1)[0].lower(), (",", "."))
    return Formats(zone, group, point)
