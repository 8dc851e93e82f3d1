"""The working windows of a week as people write them: `22:00-06:00` on Monday goes on into Tuesday morning."""

import re
from collections.abc import Mapping
from datetime import time

from app.core.errors import FieldProblem, ValidationFailed
from app.domain.calendars.calendars import MIDNIGHT, WEEKDAY_NAMES, Window, orderly
from app.domain.calendars.errors import InvalidCalendar

EXAMPLE = "09:00-12:00, 13:00-18:00"
MOST_WINDOWS = 12
_WINDOW = re.compile(r"(\d{1,2})[:.](\d{2})\s*[-\u2013]\s*(\d{1,2})[:.](\d{2})", re.ASCII)


def parse_week(texts: Mapping[int, str]) -> dict[int, tuple[Window, ...]]:
    """Read the windows of each weekday (Monday is 0); an empty text is a day that is not worked.

    A window that ends before it starts crosses midnight: its morning belongs to the next weekday.

    Raises:
        ValidationFailed: a text is not a list of windows, windows overlap, or no day is worked; by field `day_0`.
    """
    found: dict[int, list[Window]] = {}
    problems = []
    for weekday, text in sorted(texts.items()):
        try:
            for window, on in _windows(weekday, text):
                found.setdefault(on, []).append(window)
        except InvalidCalendar as error:
            problems.append(FieldProblem(f"day_{weekday}", error.detail))
    week = {}
    for weekday, windows in sorted(found.items()):
        try:
            week[weekday] = orderly(weekday, windows)
        except InvalidCalendar as error:
            problems.append(FieldProblem(f"day_{weekday}", error.detail))
    if not week and not problems:
        problems.append(FieldProblem("day_0", f"Enter the hours of at least one weekday, such as {EXAMPLE}."))
    if problems:
        raise ValidationFailed(problems)
    return week


def week_json(week: Mapping[int, tuple[Window, ...]]) -> dict[str, list[list[str]]]:
    """The windows as they are kept: `{"0": [["09:00", "18:00"]]}`."""
    return {str(weekday): [str(window).split("-") for window in windows] for weekday, windows in sorted(week.items())}


def _windows(weekday: int, text: str) -> list[tuple[Window, int]]:
    """The windows of one text, each with the weekday that it is on."""
    parts = [part.strip() for part in re.split(r"[,;]", text) if part.strip()]
    if len(parts) > MOST_WINDOWS:
        raise InvalidCalendar(f"{WEEKDAY_NAMES[weekday]} has more than {MOST_WINDOWS} working windows.")
    found = []
    for part in parts:
        match = _WINDOW.fullmatch(part)
        if match is None:
            raise InvalidCalendar(f"“{part[:40]}” is no working window: write {EXAMPLE}.")
        start, end = _time(match[1], match[2], part), _time(match[3], match[4], part)
        if start == end and start != MIDNIGHT:
            raise InvalidCalendar(f"The working window {part} is empty: let it end later than it starts.")
        if end == MIDNIGHT or start < end:
            found.append((Window(start, end), weekday))
        else:
            found += [(Window(start, MIDNIGHT), weekday), (Window(MIDNIGHT, end), (weekday + 1) % 7)]
    return found


def _time(hour: str, minute: str, part: str) -> time:
    if (int(hour), int(minute)) == (24, 0):
        return MIDNIGHT
    try:
        return time(int(hour), int(minute))
    except ValueError:
        raise InvalidCalendar(f"“{part}” has no valid time: write 00:00 to 24:00.") from None
