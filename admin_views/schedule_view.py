"""What a simulation looks like: a calendar of months and days, and the list of dates. Pure."""

from calendar import monthrange
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from admin_views.formats import Formats
from app.domain.schedules.simulation import Simulated, Simulation
from app.domain.schedules.wording import day_text

MOST_LISTED = 60
MARKS = {
    "run": ("circle-check", "A run is created"),
    "moved": ("arrow-right", "A run, on a date that was moved"),
    "omitted": ("circle-off", "Omitted, with the reason"),
    "clash": ("alert-triangle", "A run that clashes with another schedule"),
}
# What one cell shows when several things fall on its day.
_ORDER = ("clash", "moved", "run", "omitted")


def simulation_view(found: Simulation, formats: Formats, *, listed: int = MOST_LISTED) -> dict[str, Any]:
    """`months` with a cell per day, `rows` for the list, and what the counts are."""
    by_day: dict[date, list[Simulated]] = {}
    for row in found.rows:
        by_day.setdefault(_stands_on(row), []).append(row)
    counts = found.counts
    return {
        "words": found.words,
        "warnings": list(found.warnings),
        "months": _months(found, by_day),
        "days": list(range(1, 32)),
        "tally": [
            {"kind": kind, "icon": MARKS[kind][0], "label": label, "count": f"{counts.get(name, 0):,}"}
            for kind, name, label in (
                ("run", "created", "runs"),
                ("moved", "moved", "moved"),
                ("omitted", "omitted", "omitted"),
                ("clash", "clashes", "clashes"),
            )
            if counts.get(name) or name == "created"
        ],
        "rows": [_row(row, formats) for row in found.rows[:listed]],
        "more": max(0, len(found.rows) - listed),
        "cut": formats.instant(found.cut) if found.cut else "",
        "first": formats.date(found.since.date()),
        "last": formats.date(found.until.date()),
    }


def _stands_on(row: Simulated) -> date:
    """An omitted occurrence stands on the date that it would have had."""
    return row.occurrence.business_date if row.occurrence.taken_by is not None else row.occurrence.day


def _kind(row: Simulated) -> str:
    if row.omitted:
        return "omitted"
    return "clash" if row.clashes else ("moved" if row.moved else "run")


def _months(found: Simulation, by_day: Mapping[date, list[Simulated]]) -> list[dict[str, Any]]:
    days = [found.since.date(), found.until.date(), *by_day]
    first, last = min(days), max(days)
    months = []
    for number in range(first.year * 12 + first.month - 1, last.year * 12 + last.month):
        year, month = number // 12, number % 12 + 1
        begins = date(year, month, 1)
        cells = [_cell(by_day, date(year, month, n)) for n in range(1, monthrange(year, month)[1] + 1)]
        months.append({"label": f"{begins:%b %Y}", "cells": [*cells, *[None] * (31 - len(cells))]})
    return months


def _cell(by_day: Mapping[date, list[Simulated]], day: date) -> dict[str, Any]:
    rows = by_day.get(day, [])
    kinds = {_kind(row) for row in rows}
    kind = next((kind for kind in _ORDER if kind in kinds), "")
    texts = [
        day_text(day),
        *(_said(row) for row in rows[:4]),
        *([f"and {len(rows) - 4} more"] if len(rows) > 4 else []),
    ]
    return {
        "kind": kind,
        "icon": MARKS[kind][0] if kind else "",
        "weekend": day.weekday() >= 5,
        "title": "; ".join(texts) if rows else "",
        "count": len(rows) if len(rows) > 1 else 0,
    }


def _said(row: Simulated) -> str:
    if row.omitted:
        return f"omitted: {row.omitted}"
    why = [row.moved, *(clash.text for clash in row.clashes)]
    business = row.occurrence.business_date
    about = f"run for {day_text(business)}" if business != row.occurrence.day else "run"
    return f"{about}. {' '.join(filter(None, why))}".strip()


def _row(row: Simulated, formats: Formats) -> dict[str, Any]:
    one, kind = row.occurrence, _kind(row)
    return {
        "kind": kind,
        "icon": MARKS[kind][0],
        "what": {"run": "Run", "moved": "Moved", "omitted": "Omitted", "clash": "Clash"}[kind],
        "date": day_text(_stands_on(row)),
        "business_date": "" if row.omitted else day_text(one.business_date),
        "variant": row.variant,
        "due": formats.instant(one.due_at),
        "why": row.omitted or " ".join(filter(None, (row.moved, *(clash.text for clash in row.clashes)))),
    }


def legend(kinds: Iterable[str] = tuple(MARKS)) -> list[dict[str, str]]:
    return [{"kind": kind, "icon": MARKS[kind][0], "label": MARKS[kind][1]} for kind in kinds]
