"""What a calendar looks like: the twelve months of a year, its week, its versions, what differs. Pure."""

from calendar import monthrange
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from admin_views.formats import Formats
from app.domain.calendars.calendars import WEEKDAY_NAMES, Calendar
from app.domain.calendars.contents import Content, Difference, SpecialDay, hours_of
from app.domain.calendars.queries import VersionLine
from app.domain.calendars.trial import Answer
from app.domain.sla.recalculation_preview import MovedDeadline, Preview

STATES = {"draft": "Draft", "in_review": "In review", "published": "Published"}
TONES = {"draft": "draft", "in_review": "in_review", "published": "done"}
KINDS = {
    "holiday": ("holiday", "beach", "Holiday"),
    "early_close": ("early", "clock-down", "Early close"),
    "late_open": ("late", "clock-up", "Late opening"),
    "special_hours": ("special", "clock-star", "Special hours"),
}
ENTITY_WORDS = {"process_run": "Process", "stage_run": "Stage"}

Named = Mapping[date, Sequence[tuple[str, SpecialDay]]]


def year_view(calendar: Calendar | None, named: Named, year: int, today: date, before: Named | None) -> dict[str, Any]:
    """`months` of weeks of cells, and the counts. `before` marks what another version says differently."""
    months = [_month(calendar, named, date(year, number, 1), today, before) for number in range(1, 13)]
    worked = sum(month["worked"] for month in months)
    return {
        "year": year,
        "months": months,
        "weekdays": [{"short": name[:2], "name": name} for name in WEEKDAY_NAMES],
        "worked": worked,
        "legend": [{"cls": cls, "icon": icon, "label": label} for cls, icon, label in KINDS.values()],
    }


def _month(calendar: Calendar | None, named: Named, begins: date, today: date, before: Named | None) -> dict[str, Any]:
    days = [begins.replace(day=number) for number in range(1, monthrange(begins.year, begins.month)[1] + 1)]
    cells = [*[None] * begins.weekday(), *(_cell(calendar, named, day, today, before) for day in days)]
    cells += [None] * (-len(cells) % 7)
    worked = sum(cell is not None and cell["works"] for cell in cells)
    weeks = [cells[at : at + 7] for at in range(0, len(cells), 7)]
    return {"label": f"{begins:%B}", "weeks": weeks, "worked": worked}


def _cell(calendar: Calendar | None, named: Named, day: date, today: date, before: Named | None) -> dict[str, Any]:
    told = named.get(day, ())
    works = calendar is not None and calendar.is_working_day(day)
    kind = next((KINDS[special.kind][0] for _, special in told if special.kind == "holiday"), "")
    kind = kind or next((KINDS[special.kind][0] for _, special in told), "")
    text = "; ".join(_named(code, special) for code, special in told)
    changed = before is not None and _plain(told) != _plain(before.get(day, ()))
    if changed:
        was = "; ".join(_named(code, special) for code, special in before.get(day, ())) if before else ""
        text = f"{text or 'nothing special'} (before: {was or 'nothing special'})"
    return {
        "number": day.day,
        "works": works,
        "kind": kind if not (kind == "holiday" and works) else "part",
        "text": text,
        "today": day == today,
        "changed": changed,
    }


def _plain(told: Iterable[tuple[str, SpecialDay]]) -> list[str]:
    return sorted(_named(code, special) for code, special in told)


def _named(code: str, special: SpecialDay) -> str:
    return f"{f'{code}: ' if code else ''}{special.label}, {special.in_words()}"


def day_rows(named: Named, year: int, calendar: Calendar | None, formats: Formats) -> list[dict[str, Any]]:
    """The special days of a year, in order."""
    rows = []
    for day in sorted(each for each in named if each.year == year):
        for code, special in named[day]:
            cls, icon, label = KINDS[special.kind]
            weekend = calendar is not None and special.kind == "holiday" and day.weekday() >= 5
            rows.append(
                {
                    "day": day.isoformat(),
                    "date": f"{day:%a} {formats.date(day)}",
                    "label": special.label,
                    "kind": label,
                    "cls": cls,
                    "icon": icon,
                    "hours": "" if special.kind == "holiday" else special.in_words(),
                    "from": code,
                    "note": "at a weekend" if weekend else "",
                }
            )
    return rows


def week_rows(content: Content) -> list[dict[str, Any]]:
    return [
        {"number": number, "name": name, "field": f"day_{number}", "text": hours_of(content, number)}
        for number, name in enumerate(WEEKDAY_NAMES)
    ]


def version_lines(versions: Sequence[VersionLine], shown: VersionLine | None, href: str, formats: Formats) -> list[Any]:
    """The list of versions; the one in force is the highest published."""
    in_force = next((version for version in versions if version.state == "published"), None)
    rows = []
    for version in versions:
        state = "In force" if version == in_force else ("Superseded" if version.state == "published" else "")
        when = version.published_at or version.submitted_at or version.created_at
        who = {"published": version.published_by, "in_review": version.submitted_by}.get(
            version.state, version.created_by
        )
        rows.append(
            {
                "number": version.number,
                "chosen": shown is not None and version.id == shown.id,
                "state": "void" if state == "Superseded" else TONES[version.state],
                "label": state or STATES[version.state],
                "href": f"{href}?version={version.number}",
                "compare_href": f"{href}?version={shown.number}&compare={version.number}" if shown else "",
                "told": " · ".join(filter(None, (formats.date(when.date()) if when else "", who))),
                "notes": version.reason or version.notes or "",
            }
        )
    return rows


def difference_rows(found: Sequence[Difference]) -> list[dict[str, Any]]:
    words = {"add": ("Added", "plus"), "ret": ("Removed", "minus"), "chg": ("Changed", "pencil")}
    return [
        {
            "kind": {"add": "add", "ret": "ret", "chg": "ren"}[each.kind],
            "change": words[each.kind][0],
            "icon": words[each.kind][1],
            "what": each.what,
            "before": each.before,
            "after": each.after,
        }
        for each in found
    ]


def answer_view(answer: Answer, start: str, zone: str, formats: Formats, at: Any) -> dict[str, Any]:
    return {
        "words": answer.words,
        "due": f"{at:%a} {formats.date(at.date())} {at:%H:%M}",
        "zone": zone,
        "own": formats.instant(answer.due_at),
        "start": start,
        "steps": [
            {"date": f"{step.day:%a} {formats.date(step.day)}", "text": step.text, "counts": step.counts}
            for step in answer.steps
        ],
        "more": answer.more,
    }


def preview_view(found: Preview, formats: Formats, now: Any, href_of: Any) -> dict[str, Any]:
    return {
        "first_version": found.before_id is None,
        "first_day": formats.date(found.first_day) if found.first_day else "",
        "total": f"{found.total:,}",
        "any": found.total > 0,
        "later": f"{found.later:,}",
        "earlier": f"{found.earlier:,}",
        "late": f"{found.late_at_once:,}",
        "is_late": found.late_at_once > 0,
        "calendars": found.calendars,
        "partly": found.partly,
        "hidden": found.hidden,
        "more": max(0, found.total - len(found.rows) - found.hidden),
        "rows": [_moved(row, formats, now, href_of(row)) for row in found.rows],
    }


def _moved(row: MovedDeadline, formats: Formats, now: Any, href: str | None) -> dict[str, Any]:
    return {
        "label": row.label,
        "what": ENTITY_WORDS.get(row.entity, row.entity.replace("_", " ").capitalize()),
        "href": href,
        "old": formats.instant(row.old),
        "new": formats.instant(row.new),
        "by": _span(row.minutes),
        "later": row.minutes > 0,
        "late": row.is_late_at_once(now),
    }


def _span(minutes: int) -> str:
    sign = "+" if minutes > 0 else "\N{MINUS SIGN}"
    days, rest = divmod(abs(minutes), 1440)
    hours, left = divmod(rest, 60)
    parts = ((days, "d"), (hours, "h"), (left, "min"))
    return sign + " ".join(f"{number} {unit}" for number, unit in parts if number)
