"""The form of a policy's draft: read from what was posted or from a definition, and made into one. Pure.

A few empty rows follow those that there are, so that the form works without a script; empty rows say nothing.
"""

import json
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import FormData

from app.core.errors import FieldProblem, ValidationFailed
from models.sla import BUSINESS_DATE, CONDITIONS, MOST_TARGETS, MOST_THRESHOLDS, PolicyDef, hours_text

LONGEST = 20_000
SPARE_ROWS = 2
POINTS = (("percent", "% of the target used"), ("before", "before it is due"), ("after", "after it is due"))
CONDITION_WORDS = {
    "applies_when": ("About", "Only these records; one that stops being one of them loses its clock."),
    "start": ("Starts", "Once this holds; without a condition, with the record."),
    "pause": ("Pauses", "The clock stands while this holds. A deadline never pauses."),
    "resume": ("Resumes", "If given, it stands until this holds instead."),
    "stop": ("Stops", "The work is done."),
    "cancel": ("Is called off", "The work is not wanted any more."),
    "reset": ("Begins anew", "Each time this comes to hold, from zero; also when it had stopped."),
}


def empty_form() -> dict[str, Any]:
    """A policy that has not been written yet."""
    return form_of({"code": "", "label": "", "targets": [], "thresholds": [{"code": "warning", "percent": 75}]})


def form_of(plain: Mapping[str, Any]) -> dict[str, Any]:
    """What the controls hold for a definition, as `PolicyDef.plain` gives it."""
    targets = [
        {"when": _json(t.get("when")), "promise": t.get("within") or t.get("by") or ""}
        for t in plain.get("targets", ())
    ]
    thresholds = []
    for each in plain.get("thresholds", ()):
        kind = next((name for name, _ in POINTS if each.get(name) is not None), "percent")
        thresholds.append({
            "code": each["code"], "label": each.get("label", ""), "kind": kind, "amount": str(each.get(kind, "")),
        })  # fmt: skip
    return {
        **{name: plain.get(name) or "" for name in ("code", "label", "description", "calendar", "start_from", "zone")},
        "measure": plain.get("measure", "duration"),
        "base_date": plain.get("base_date", BUSINESS_DATE),
        "conditions": {name: _json(plain.get(name)) for name in CONDITIONS},
        "targets": _spare(targets, {"when": "", "promise": ""}, MOST_TARGETS),
        "thresholds": _spare(thresholds, {"code": "", "label": "", "kind": "percent", "amount": ""}, MOST_THRESHOLDS),
        "notes": "",
    }


def posted_form(form: FormData) -> dict[str, Any]:
    """What the controls hold, as it was sent."""

    def said(name: str) -> str:
        value = form.get(name)
        return value.strip()[:LONGEST] if isinstance(value, str) else ""

    targets = [
        {"when": said(f"target-{n}-when"), "promise": said(f"target-{n}-promise")}
        for n in range(MOST_TARGETS)
        if f"target-{n}-promise" in form
    ]
    thresholds = [
        {name: said(f"threshold-{n}-{name}") for name in ("code", "label", "kind", "amount")}
        for n in range(MOST_THRESHOLDS + SPARE_ROWS)
        if f"threshold-{n}-code" in form
    ]
    return {
        **{name: said(name) for name in ("code", "label", "description", "calendar", "start_from", "zone", "notes")},
        "measure": said("measure") or "duration",
        "base_date": said("base_date") or BUSINESS_DATE,
        "conditions": {name: said(f"condition-{name}") for name in CONDITIONS},
        "targets": targets,
        "thresholds": thresholds,
    }


def definition_from(form: Mapping[str, Any]) -> dict[str, Any]:
    """The policy that the controls say, as plain data; `store.read_policy` checks it.

    Raises ValidationFailed for a condition that is no JSON.
    """
    problems: list[FieldProblem] = []

    def condition(text: str, place: str) -> Any:
        try:
            return json.loads(text) or None if text else None
        except (json.JSONDecodeError, RecursionError):
            problems.append(FieldProblem(place, "The condition is not JSON; correct or empty it."))
            return None

    measure = form["measure"]
    key = "within" if measure == "duration" else "by"
    targets = []
    for number, row in enumerate(form["targets"]):
        if row["promise"] or row["when"]:
            when = condition(row["when"], f"targets.{number}.when")
            targets.append({key: row["promise"], **({"when": when} if when else {})})
    given: dict[str, Any] = {"measure": measure, "targets": targets, "base_date": form["base_date"]}
    for name in ("code", "label", "description", "calendar", "start_from", "zone"):
        if form[name]:
            given[name] = form[name]
    for name in CONDITIONS:
        value = condition(form["conditions"][name], name)
        if value is not None:
            given[name] = value
    given["thresholds"] = [_threshold(row) for row in form["thresholds"] if row["code"] or row["amount"]]
    if problems:
        raise ValidationFailed(problems)
    return given


def _threshold(row: Mapping[str, str]) -> dict[str, Any]:
    amount: Any = row["amount"]
    if row["kind"] == "percent":
        amount = int(amount) if amount.isascii() and amount.isdigit() and len(amount) < 6 else amount
    label = {"label": row["label"]} if row["label"] else {}
    return {"code": row["code"], **label, row["kind"] if row["kind"] in dict(POINTS) else "percent": amount}


def in_words(definition: PolicyDef) -> list[str]:
    """What a version announces, in the order in which it is written."""
    words = []
    for each in definition.thresholds:
        if each.percent is not None:
            words.append(f"{each.title}: at {each.percent} %")
        elif each.before is not None:
            words.append(f"{each.title}: {hours_text(each.before)} before it is due")
        elif each.after is not None:
            words.append(f"{each.title}: {hours_text(each.after)} after it is due")
    return [*words, "Breach: when it is due"]


def _json(condition: Any) -> str:
    return json.dumps(condition, ensure_ascii=False) if condition else ""


def _spare(rows: list[dict[str, str]], empty: dict[str, str], most: int) -> list[dict[str, str]]:
    return [*rows, *(dict(empty) for _ in range(min(SPARE_ROWS, most - len(rows))))]
