"""Rules and occurrences in plain words, for screens, occurrence rows and simulations."""

from datetime import date

from app.domain.calendars.calendars import Calendar, Roll
from app.domain.schedules.periods import WEEKDAYS, PeriodKind, Weekday
from app.domain.schedules.recurrence import Anchor, BusinessDateRule, Occurrence, Offset, Recurrence, Unit

_NOUNS = {
    PeriodKind.MONTH: "month",
    PeriodKind.QUARTER: "quarter",
    PeriodKind.YEAR: "year",
    PeriodKind.RETAIL_MONTH: "4-4-5 month",
    PeriodKind.RETAIL_QUARTER: "4-4-5 quarter",
    PeriodKind.RETAIL_YEAR: "4-4-5 year",
}
_WEEKDAY_NAMES = {
    Weekday.MON: "Monday", Weekday.TUE: "Tuesday", Weekday.WED: "Wednesday", Weekday.THU: "Thursday",
    Weekday.FRI: "Friday", Weekday.SAT: "Saturday", Weekday.SUN: "Sunday",
}  # fmt: skip
_ROLLS = {
    Roll.NONE: "stays where it is",
    Roll.FOLLOWING: "moves to the next working day",
    Roll.MODIFIED_FOLLOWING: "moves to the next working day of the month, else to the one before",
    Roll.PRECEDING: "moves to the working day before",
    Roll.MODIFIED_PRECEDING: "moves to the working day before in the month, else to the next one",
    Roll.END_OF_MONTH: "is the last working day of the month",
}
_BUSINESS_DATES = {
    BusinessDateRule.OCCURRENCE: "",
    BusinessDateRule.PREVIOUS_WORKING_DAY: "for the working day before",
    BusinessDateRule.PERIOD_START: "for the first day of the period",
    BusinessDateRule.PERIOD_END: "for the last day of the period",
    BusinessDateRule.LAST_WORKING_DAY: "for the last working day of the period",
}


def describe(rule: Recurrence, calendars: str) -> str:
    """Say the rule in one sentence: "On the 3rd working day after the end of each month, 18:00 Europe/London…"."""
    parts = [_when(rule, calendars)]
    if rule.period is not PeriodKind.CRON and rule.at is not None:
        parts.append(f"at {rule.at:%H:%M} {rule.zone}")
    else:
        parts.append(rule.zone)
    if rule.advance:
        unit = "working " if rule.advance_unit is Unit.WORKING else ""
        parts.append(f"created {rule.advance} {unit}{'day' if rule.advance == 1 else 'days'} in advance")
    if _BUSINESS_DATES[rule.business_date]:
        parts.append(_BUSINESS_DATES[rule.business_date])
    text = ", ".join(parts)
    return f"{text[:1].upper()}{text[1:]}. {_rolled(rule, calendars)}".strip()


def _when(rule: Recurrence, calendars: str) -> str:
    match rule.period:
        case PeriodKind.CRON:
            base = f"by the expression {rule.cron}"
        case PeriodKind.DAILY:
            base = f"every day that {calendars} works"
        case PeriodKind.WEEKLY:
            days = [_WEEKDAY_NAMES[day] for day in WEEKDAYS if day in rule.weekdays]
            week = "every week" if rule.every == 1 else f"every {_ordinal(rule.every)} week"
            base = f"{week} on {_joined(days)}"
        case kind:
            each = "each" if rule.every == 1 else f"every {_ordinal(rule.every)}"
            edge = "beginning" if rule.anchor is Anchor.START else "end"
            return f"{_counted(rule.offset, rule.anchor, edge)} of {each} {_NOUNS[kind]}"
    if not rule.offset.count:
        return base
    return f"{_counted(rule.offset, rule.anchor, 'day')}, {base}"


def _counted(offset: Offset, anchor: Anchor, edge: str) -> str:
    count = abs(offset.count)
    if not count:
        return f"at the {edge}"
    if offset.unit is Unit.CALENDAR:
        return (
            f"{count} calendar {'day' if count == 1 else 'days'} {'after' if offset.count > 0 else 'before'} the {edge}"
        )
    after = offset.count > 0
    where = {
        (True, Anchor.END): "after", (False, Anchor.END): "on or before",
        (True, Anchor.START): "on or after", (False, Anchor.START): "before",
    }[after, anchor]  # fmt: skip
    which = _ordinal(count) if after else ("last" if count == 1 else f"{_ordinal(count)} last")
    return f"on the {which} working day {where} the {edge}"


def _rolled(rule: Recurrence, calendars: str) -> str:
    if rule.offset.unit is Unit.WORKING and rule.offset.count and rule.roll is not Roll.END_OF_MONTH:
        return f"Working days are those of {calendars}."
    if rule.roll is Roll.END_OF_MONTH:
        return f"Each date {_ROLLS[rule.roll]} by {calendars}."
    return f"A date that {calendars} does not work {_ROLLS[rule.roll]}."


def why_moved(rule: Recurrence, calendar: Calendar, found: Occurrence) -> str:
    """Why the date is not the nominal one; empty where it is."""
    if not found.moved:
        return ""
    name = _name(calendar)
    if rule.roll is Roll.END_OF_MONTH:
        return f"{day_text(found.day)} is the last working day of the month."
    if calendar.is_working_day(found.nominal):
        return ""
    text = f"{day_text(found.nominal)} is not worked by {name}"
    forward = rule.roll in (Roll.FOLLOWING, Roll.MODIFIED_FOLLOWING)
    turned = found.day < found.nominal if forward else found.day > found.nominal
    if turned:
        return f"{text}, and the {'next' if forward else 'previous'} working day is in another month."
    return f"{text}; {'the next' if forward else 'the last'} working day is {day_text(found.day)}."


def why_omitted(rule: Recurrence, calendar: Calendar, found: Occurrence) -> str:
    """Why there is no run of its own; empty where there is one."""
    winner = found.taken_by
    if winner is None:
        return ""
    moved = why_moved(rule, calendar, found)
    same = f"the run of {day_text(winner.business_date)} is there already"
    return f"{moved} {same[:1].upper()}{same[1:]}." if moved else f"It would be the same run: {same}."


def day_text(day: date) -> str:
    """`Fri 3 Apr 2026`."""
    return f"{day:%a} {day.day} {day:%b %Y}"


def _name(calendar: Calendar) -> str:
    return calendar.code.removeprefix("(").removesuffix(")") if calendar.code.count("(") == 1 else calendar.code


def _joined(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _ordinal(number: int) -> str:
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
