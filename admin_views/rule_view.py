"""What steps/rule.html shows and its editor is given: plain values out of a rule, its versions and their preview."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from urllib.parse import quote

import orjson

from admin_views.formats import Formats
from admin_views.navigation import record_path
from app.core.audit import plain_value
from app.core.findings import Severity
from app.domain.rules.cases import Case, CaseResult
from app.domain.rules.comparison import Change, Difference
from app.domain.rules.definitions import Column, RuleContent, RuleField, RuleKind
from app.domain.rules.preview import Preview, Trial
from app.domain.rules.purposes import CONTRACTS, Purpose
from app.domain.rules.uses import RuleUse
from app.domain.rules.values import ValueType, shown
from models.registry import Registry

TYPE_LABELS: Mapping[ValueType, str] = {
    ValueType.TEXT: "Text", ValueType.CHOICE: "Choice", ValueType.INTEGER: "Whole number",
    ValueType.DECIMAL: "Number", ValueType.BOOLEAN: "Yes or no", ValueType.DATE: "Date",
    ValueType.TEXTS: "List of texts",
}  # fmt: skip
PURPOSES: Mapping[Purpose, str] = {
    Purpose.GENERAL: "General", Purpose.GUARD: "Guard of a step", Purpose.PROCESS_ROUTING: "Routing of a process",
    Purpose.PNL_THRESHOLD: "PnL threshold", Purpose.FIELD_VALIDATION: "Validation of a field",
}  # fmt: skip
CHANGE_LOOKS = {
    Change.ADDED: ("add", "plus"), Change.REMOVED: ("ret", "minus"), Change.CHANGED: ("", "pencil"),
    Change.MOVED: ("mov", "arrows-up-down"),
}  # fmt: skip


def in_force(versions: Sequence[Mapping[str, Any]], today: date) -> Any:
    """The version that decides today; None where none does."""
    past = [v for v in versions if v["state"] == "published" and v["valid_from"] <= today]
    return max(past, key=lambda version: version["valid_from"], default=None)


def page(
    rule: Mapping[str, Any],
    versions: Sequence[Mapping[str, Any]],
    version: Mapping[str, Any] | None,
    found: Preview | None,
    *,
    cases: Sequence[Case],
    may: Mapping[str, bool],
    today: date,
    formats: Formats,
) -> dict[str, Any]:
    """The `page` of steps/rule.html."""
    href = f"/rules/{rule['id']}"
    kind, purpose = RuleKind(rule["kind"]), Purpose(rule["purpose"])
    draft = next((v for v in versions if v["state"] == "draft"), None)
    current = in_force(versions, today)
    editable = may["write"] and version is not None and version["state"] == "draft"
    contract = CONTRACTS[purpose]
    editor = {
        "kind": kind,
        "editable": editable,
        "row_version": version["row_version"] if version else None,
        "check": f"{href}/check",
        "save": f"{href}/save",
        "types": [{"value": type_, "label": label} for type_, label in TYPE_LABELS.items()],
        "known_facts": [_field_data(field) for field in contract.facts or ()],
        "known_answers": [_field_data(field) for field in contract.answers or ()],
        "tests": [case.model_dump(mode="json") for case in cases],
        "found": preview_data(found) if found else None,
    }
    return {
        "id": str(rule["id"]),
        "href": href,
        "code": rule["code"],
        "label": rule["label"],
        "is_table": kind is RuleKind.DECISION_TABLE,
        "active": rule["active"],
        "description": rule["description"],
        "edit_href": f"/data/business-rules/{rule['id']}/edit" if may["write"] else None,
        "record_href": f"/data/business-rules/{rule['id']}",
        "list_href": "/data/business-rules",
        "kept_href": _kept_href(rule) if may["kept"] else None,
        "facts": [
            {"label": "Used for", "value": PURPOSES[purpose]},
            {"label": "Application", "value": rule["application"]},
            {"label": "In force", "value": _force_words(current, formats)},
        ],
        "said": contract.said,
        "version": _version_row(version, version, current, href=href, formats=formats, today=today)
        if version
        else None,
        "versions": [_version_row(v, version, current, href=href, formats=formats, today=today) for v in versions],
        "draft_there": draft is not None,
        "editable": editable,
        "may": may,
        "today": today.isoformat(),
        "first_publication": not any(v["state"] != "draft" for v in versions),
        "editor": editor,
        "grid": grid(kind, found.content) if found else None,
    }


def _kept_href(rule: Mapping[str, Any]) -> str:
    wanted = orjson.dumps({"rule": {"eq": str(rule["id"])}}).decode()
    return f"/data/rule-decisions?filter={quote(wanted)}"


def _force_words(current: Mapping[str, Any] | None, formats: Formats) -> str:
    if current is None:
        return "no version yet"
    return f"version {current['number']} since {formats.date(current['valid_from'])}"


def _version_row(
    version: Mapping[str, Any],
    chosen: Mapping[str, Any] | None,
    current: Mapping[str, Any] | None,
    *,
    href: str,
    formats: Formats,
    today: date,
) -> dict[str, Any]:
    state, label = version["state"], version["state"].capitalize()
    if state == "published":
        coming = version["valid_from"] > today
        label = "Coming" if coming else "In force" if current and version["id"] == current["id"] else "Past"
        state = {"Coming": "waiting", "In force": "done", "Past": "skipped"}[label]
    until = (
        f" until {formats.date(version['valid_to'])}" if version["valid_to"] and version["state"] == "published" else ""
    )
    return {
        "id": str(version["id"]),
        "number": version["number"],
        "state": {"draft": "draft", "retired": "cancelled"}.get(state, state),
        "label": label,
        "row_version": version["row_version"],
        "period": f"from {formats.date(version['valid_from'])}{until}" if version["valid_from"] else "",
        "by": version["published_by"] or "",
        "notes": version["notes"] or "",
        "tests": version["tests"],
        "is_draft": version["state"] == "draft",
        "coming": label == "Coming",
        "chosen": chosen is not None and version["id"] == chosen["id"],
        "href": f"{href}?version={version['id']}",
        "compare_href": f"{href}?version={chosen['id']}&compare={version['id']}" if chosen else "",
        "jdm_href": f"{href}/jdm?version={version['id']}",
    }


def _field_data(field: RuleField) -> dict[str, Any]:
    return field.model_dump(mode="json") | {"type_label": TYPE_LABELS[field.type], "title": field.title}


def grid(kind: RuleKind, content: RuleContent) -> dict[str, Any]:
    """The table as it is read without a script."""
    if kind is RuleKind.EXPRESSION:
        heads = [{"title": "Formula", "sub": "", "kind": "answer"}]
        rows = [{"name": o.title, "cells": [content.formulas.get(o.name, "")]} for o in content.outputs]
        return {"heads": heads, "rows": rows}
    heads = [{"title": content.column_title(c), "sub": _tested(content, c), "kind": "if"} for c in content.columns]
    heads += [{"title": o.title, "sub": TYPE_LABELS[o.type], "kind": "then"} for o in content.outputs]
    rows = [
        {
            "name": str(number),
            "cells": [
                *(row.tests.get(column.id, "") for column in content.columns),
                *(row.answers.get(output.name, "") for output in content.outputs),
            ],
        }
        for number, row in enumerate(content.rows, 1)
    ]
    return {"heads": heads, "rows": rows}


def _tested(content: RuleContent, column: Column) -> str:
    return f"{column.expression} · {TYPE_LABELS[content.column_type(column)]}"


def preview_data(found: Preview) -> dict[str, Any]:
    """What the editor is told about what stands in it."""
    return {
        "content": found.content.plain(),
        "findings": [
            {
                "severity": finding.severity,
                "message": finding.message,
                "satisfy": finding.satisfy,
                "row": finding.row,
                "column": finding.column,
            }
            for finding in found.findings
        ],
        "errors": sum(finding.severity is Severity.ERROR for finding in found.findings),
        "results": [_result(result) for result in found.results],
        "passed": sum(result.passed for result in found.results),
        "trial": _trial(found.trial) if found.trial is not None else None,
    }


def _result(result: CaseResult) -> dict[str, Any]:
    return {"passed": result.passed, "problem": result.problem, "matched": list(result.matched)}


def _trial(trial: Trial) -> dict[str, Any]:
    if trial.outcome is None:
        return {"problem": trial.problem, "answers": [], "matched": [], "rows": [], "values": {}}
    return {
        "problem": "",
        "answers": [{name: shown(value) for name, value in answer.items()} for answer in trial.outcome.answers],
        "matched": list(trial.outcome.matched),
        "rows": [{"row": row.row, "fits": row.fits, "stopped": row.stopped} for row in trial.outcome.rows],
        "values": plain_value(trial.outcome.values),
    }


def difference_rows(
    differences: Sequence[Difference], before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> dict[str, Any]:
    """A comparison as a list of what was done."""
    rows = [
        {
            "kind": CHANGE_LOOKS[difference.change][0],
            "icon": CHANGE_LOOKS[difference.change][1],
            "change": difference.change.capitalize(),
            "what": f"{difference.what.capitalize()} {difference.place}",
            "cells": [{"label": c.title, "before": c.before, "after": c.after} for c in difference.cells],
        }
        for difference in differences
    ]
    return {"before": before["number"] if before else "", "after": after["number"] if after else "", "rows": rows}


def use_rows(uses: Sequence[RuleUse], registry: Registry) -> list[dict[str, Any]]:
    """Who asks the rule."""
    return [
        {
            "label": use.label,
            "icon": registry.entity(use.entity).icon,
            "count": use.count,
            "examples": [
                {"label": title, "href": record_path(registry.entity(use.entity), id_)} for id_, title in use.examples
            ],
        }
        for use in uses
    ]
