"""Forecasts as pages draw them: predicted finish, the chance of missing a deadline, and why; plain values only.

A forecast that the worker has not renewed for long is not drawn as if it held: it says when it was computed, no more.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from admin_views.formats import Formats
from admin_views.visit import Visit
from app.core.uow import UnitOfWork
from app.domain.prediction.queries import (
    ProcessForecast,
    RunForecast,
    TargetForecast,
    WholeForecast,
    forecast_of_run,
    forecasts_of_processes,
    glance,
)

LIKELY, POSSIBLE = Decimal("0.5"), Decimal("0.2")
# Below this a chip would only be noise.
LEAST_SHOWN = Decimal("0.1")
TENTHS = 10
AT_RISK = {
    "late": {"icon": "alert-triangle", "tone": "late", "word": "Predicted late"},
    "risk": {"icon": "alert-triangle", "tone": "risk", "word": "At risk"},
}


async def run_forecast(visit: Visit, uow: UnitOfWork, run_id: UUID) -> WholeForecast | None:
    """The forecast of a run, where the person may see forecasts and it still holds or says how old it is."""
    return await forecast_of_run(uow, run_id) if visit.may("read", "run_forecast") else None


async def chips(
    visit: Visit, uow: UnitOfWork, *, run_ids: Iterable[UUID] = (), process_run_ids: Iterable[UUID] = ()
) -> dict[UUID, dict[str, Any]]:
    """For lists of runs and of work: predicted finish and chance of missing the deadline, where it still holds."""
    if not visit.may("read", "run_forecast"):
        return {}
    found = await glance(uow, run_ids=list(run_ids), process_run_ids=list(process_run_ids))
    return {
        id_: {
            "finish": clock(each.target.finish_p50, visit.formats, uow.now),
            "miss": miss_chip(each.target, visit.formats, uow.now),
        }
        for id_, each in found.items()
        if not each.is_outdated(uow.now)
    }


def with_forecast(row: dict[str, Any], chip: dict[str, Any] | None) -> dict[str, Any]:
    """A row of a list of runs with its forecast; a run that is on time so far may be at risk."""
    standing = row["standing"]
    if chip and chip["miss"] and standing["tone"] == "ok" and chip["miss"]["tone"] != "ok":
        standing = AT_RISK[chip["miss"]["tone"]]
    return {**row, "standing": standing, "forecast": chip}


def at_risk(predicted: Mapping[UUID, dict[str, Any]], run_ids: Iterable[UUID]) -> str:
    """How many of these runs will probably be late, or may be: "1 predicted late, 2 at risk"."""
    tones = [chip["miss"]["tone"] for id_ in run_ids if (chip := predicted.get(id_)) and chip["miss"]]
    parts = [(tones.count("late"), "predicted late"), (tones.count("risk"), "at risk")]
    return ", ".join(f"{count} {words}" for count, words in parts if count)


def miss_chip(target: TargetForecast, formats: Formats, now: datetime) -> dict[str, Any] | None:
    """The chance of missing the deadline with its tone and the whole sentence.

    None where there is hardly any, and where there is no deadline ahead: one that has passed is shown as such.
    """
    if target.miss is None or target.miss < LEAST_SHOWN or target.due_at is None or target.due_at <= now:
        return None
    return {"text": percent(target.miss), "tone": tone(target.miss), "title": target.sentence(formats.zone)}


def percent(share: Decimal) -> str:
    """A share as people read it; what is not certain is neither 0 nor 100."""
    whole = int((share * 100).to_integral_value())
    return f"{whole} %"


def tone(miss: Decimal) -> str:
    if miss >= LIKELY:
        return "late"
    return "risk" if miss >= POSSIBLE else "ok"


def clock(at: datetime | None, formats: Formats, now: datetime) -> str:
    """The time, with its day where that is not today; a dash where it will never be."""
    if at is None:
        return "\u2013"
    here, today = formats.local(at), formats.local(now).date()
    return f"{here:%H:%M}" if here.date() == today else f"{here.day} {here:%b} {here:%H:%M}"


def summary(found: WholeForecast | None, visit: Visit, now: datetime) -> dict[str, Any] | None:
    """The two panels at the head of a run's page."""
    if found is None:
        return None
    run, formats = found.run, visit.formats
    target = run.target
    return {
        "outdated": run.is_outdated(now),
        "computed": f"{formats.local(run.computed_at):%H:%M}",
        "finish": clock(target.finish_p50, formats, now),
        "p90": clock(target.finish_p90, formats, now),
        "basis": _basis(run),
        "miss": None if target.miss is None else f"{target.miss:.2f}",
        "tone": "ok" if target.miss is None else tone(target.miss),
        "standing": None if target.miss is None else AT_RISK.get(tone(target.miss)),
        "tenths": [] if target.miss is None else tenths(target.miss),
        "due": clock(target.due_at, formats, now) if target.due_at else "",
        "was": f"was {run.before[1]:.2f} at {formats.local(run.before[0]):%H:%M}" if run.before else "",
        "cause": _cause(target, formats),
        "otherwise": _otherwise(run),
    }


def _basis(run: RunForecast) -> str:
    if not run.observations:
        return "From expected minutes: there are no earlier runs"
    return f"Median and 90 % of {run.observations} earlier runs"


def _cause(target: TargetForecast, formats: Formats) -> dict[str, Any] | None:
    """The cause in words, with the driver's name apart, so that the page can link it."""
    words = target.because(formats.zone)
    if words is None:
        return None
    if target.driver is None or target.driver_id is None or not words.startswith(target.driver):
        return {"label": "", "href": "", "rest": words}
    return {
        "label": target.driver,
        "href": f"/processes/{target.driver_id}",
        "rest": words.removeprefix(target.driver).strip(),
    }


def _otherwise(run: RunForecast) -> str:
    """What it would be without the driver, where that makes a difference."""
    if run.miss_otherwise is None or run.target.miss is None or run.target.miss - run.miss_otherwise < LEAST_SHOWN:
        return ""
    return f"{run.miss_otherwise:.2f} if it had taken its usual time."


def tenths(miss: Decimal) -> list[str]:
    """Ten blocks: on, part or empty."""
    full, rest = divmod(miss * TENTHS, 1)
    return [*["on"] * int(full), *(["part"] if rest >= LEAST_SHOWN else []), *[""] * TENTHS][:TENTHS]


def lines(found: WholeForecast | None, visit: Visit, now: datetime) -> Mapping[UUID, dict[str, Any]]:
    """What each row of a run's process table adds; nothing where the forecast is outdated."""
    if found is None or found.run.is_outdated(now):
        return {}
    rows: dict[UUID, dict[str, Any]] = {
        id_: {"critical_path": True, "expected": "", "miss": None} for id_ in found.run.critical_path
    }
    for id_, each in found.processes.items():
        rows[id_] = {
            "critical_path": each.on_critical_path,
            "expected": f"expected {clock(each.target.finish_p50, visit.formats, now)}"
            if each.target.finish_p50
            else "cannot be finished",
            "miss": miss_chip(each.target, visit.formats, now),
        }
    return rows


def stage_chips(found: WholeForecast | None, visit: Visit, now: datetime) -> Mapping[UUID, dict[str, Any] | None]:
    """The chance that a stage misses its deadline."""
    if found is None or found.run.is_outdated(now):
        return {}
    return {id_: miss_chip(target, visit.formats, now) for id_, target in found.stages.items()}


async def predicted(visit: Visit, uow: UnitOfWork, process_run_id: UUID) -> str | None:
    """The line of a process's page, where there is a forecast that holds."""
    if not visit.may("read", "process_forecast"):
        return None
    found = (await forecasts_of_processes(uow, [process_run_id])).get(process_run_id)
    return process_line(found, visit.formats, uow.now) if found and not found.is_outdated(uow.now) else None


def process_line(each: ProcessForecast, formats: Formats, now: datetime) -> str:
    """The line of a process's page: "16:52, P(miss) 0.21 because Load ECB rates is 40 min late"."""
    target = each.target
    if target.finish_p50 is None:
        return f"cannot be finished: {target.because(formats.zone) or 'what it waits for has closed'}"
    words = clock(target.finish_p50, formats, now)
    if target.miss is None:
        return words
    words += f", P(miss) {target.miss:.2f}"
    other = target.driver_id != each.process_run_id  # that it is late itself is seen beside it
    cause = target.because(formats.zone) if other and target.miss >= LEAST_SHOWN else None
    return f"{words} because {cause}" if cause else words


def axis_with(axis: dict[str, Any], found: WholeForecast | None, visit: Visit, now: datetime) -> dict[str, Any]:
    """The rail of a run with its predicted finish on it."""
    if found is None or found.run.is_outdated(now) or found.run.target.finish_p50 is None:
        return axis
    at = clock(found.run.target.finish_p50, visit.formats, now)
    return {
        **axis,
        "predicted": axis["place"](found.run.target.finish_p50),
        "predicted_label": f"{at} predicted",
        "label": f"{axis['label']}, predicted {at}",
    }


def latest_shown(found: WholeForecast | None, now: datetime) -> datetime | None:
    """How far the rail must reach to show the prediction; not more than a day beyond now."""
    if found is None or found.run.is_outdated(now) or found.run.target.finish_p50 is None:
        return None
    return min(found.run.target.finish_p50, now + timedelta(days=1))
