"""What steps/process.html shows of the content: figures, breaches, checklist, evidence, jobs."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from admin_views.formats import MINUS, Formats
from admin_views.process_view import Drawn, short_hash
from app.domain.finance.breaches import MAX_COMMENTARY, MIN_COMMENTARY
from app.domain.finance.node_figures import BreachLine, Limits, NodeFigures
from app.domain.finance.pnl import EXPLAIN_COMPONENTS, Measure
from app.domain.workflow.process_record import AttachedFile, FileVersion, ProcessJob, WantedEvidence
from models.schema import EntityDef

SIGMA = "\u03c3"
FILE_ICONS = {
    "xlsx": "file-spreadsheet", "xls": "file-spreadsheet", "csv": "file-type-csv", "pdf": "file-type-pdf",
    "png": "photo", "jpg": "photo", "jpeg": "photo", "txt": "file-text", "zip": "file-zip",
}  # fmt: skip
MEASURES = {
    Measure.FLASH: "Flash", Measure.ACTUAL: "Actual", Measure.MARKET_MOVE: "Market move",
    Measure.NEW_TRADES: "New trades", Measure.UNEXPLAINED: "Unexplained",
}  # fmt: skip
JOB_TONES = {
    "queued": "planned", "running": "in_progress", "retrying": "warn", "succeeded": "done", "failed": "failed",
    "aborted": "cancelled", "lost": "failed",
}  # fmt: skip
HASH_LENGTH = 64
LIVE_JOBS = frozenset({"queued", "running", "retrying"})
STOPPED_JOBS = frozenset({"failed", "aborted"})


def figures(drawn: Drawn, found: NodeFigures, breach: EntityDef) -> dict[str, Any]:
    """The figures with their limits, what explains them, and the breaches to comment on."""
    node = drawn.detail.row.node_id
    over = {line.measure for line in found.breaches if line.node_id == node}
    amounts = found.figures
    explained = sum((amounts[m] for m in EXPLAIN_COMPONENTS if m in amounts), Decimal(0))
    actual = amounts.get(Measure.ACTUAL)
    rows = [
        _figure(drawn.formats, "Flash", "before the day's rates", amounts.get(Measure.FLASH)),
        _tested(drawn, found, Measure.ACTUAL, "at the day's rates", over),
        _figure(drawn.formats, "Explained", _share(drawn.formats, explained, actual), explained if amounts else None),
        _tested(drawn, found, Measure.UNEXPLAINED, f"actual {MINUS} explained", over),
    ]
    parts = [(MEASURES[m], amounts[m], False) for m in (*EXPLAIN_COMPONENTS, Measure.UNEXPLAINED) if m in amounts]
    largest = max((abs(value) for _, value, _ in parts), default=Decimal(0))
    return {
        "rows": [row for row in rows if row is not None],
        "explain": [
            {"label": label, "value": value, "largest": largest, **_amount(drawn.formats, value, signed=True)}
            for label, value, _ in parts
        ],
        "negatives": any(value < 0 for _, value, _ in parts),
        "computed": f"computed {drawn.clock(found.computed_at)}" if found.computed_at else "",
        "corrected": found.corrected,
        "breaches": [_breach(drawn, line, breach) for line in found.breaches],
        "open_breaches": sum(1 for line in found.breaches if line.state == "open"),
    }


def _amount(formats: Formats, value: Decimal, *, signed: bool = False) -> dict[str, Any]:
    text = formats.number(value, places=2)
    return {"text": f"+{text}" if signed and value > 0 else text, "negative": text.startswith(MINUS)}


def _figure(formats: Formats, label: str, sub: str, value: Decimal | None) -> dict[str, Any] | None:
    if value is None:
        return None
    return {"label": label, "sub": sub, **_amount(formats, value), "mark": None, "limit": "", "bad": False}


def _share(formats: Formats, explained: Decimal, actual: Decimal | None) -> str:
    if not actual:
        return "market move + new trades"
    return f"{formats.number(explained / actual * 100, places=1)} % of actual"


def _tested(drawn: Drawn, found: NodeFigures, measure: Measure, sub: str, over: set[str]) -> dict[str, Any] | None:
    row = _figure(drawn.formats, MEASURES[measure], sub, found.figures.get(measure))
    limits = found.limits.get(measure)
    if row is None or limits is None:
        return row
    bad = measure.value in over
    mark = {"tone": "breach", "icon": "alert-triangle", "label": "Over limit"} if bad else None
    return {
        **row,
        "mark": mark or {"tone": "ok", "icon": "check", "label": "Within limits"},
        "limit": _limit_text(drawn.formats, limits),
        "bad": bad,
    }


def _limit_text(formats: Formats, limits: Limits) -> str:
    parts = []
    if limits.absolute is not None:
        parts.append(f"±{formats.number(limits.absolute, places=0)}")
    if limits.percent is not None:
        parts.append(f"±{formats.number(limits.percent)} % of flash")
    if limits.zscore is not None:
        parts.append(f"{formats.number(limits.zscore)} {SIGMA}")
    return f"limit {', '.join(parts)}" if parts else ""


def _breach(drawn: Drawn, line: BreachLine, entity: EntityDef) -> dict[str, Any]:
    place = f"breach-{line.id}"
    tried, typed = drawn.error_of(place), drawn.values_of(place)
    causes = entity.field("root_cause").options
    labels = {option.value: option.label for option in causes}
    chosen = typed.get("root_cause", line.root_cause or "")
    text = typed.get("commentary", line.commentary or "")
    return {
        "place": place,
        "href": f"/processes/{drawn.detail.row.id}/breaches/{line.id}",
        "row_version": line.row_version,
        "node": line.node_label,
        "code": line.node_code,
        "summary": line.summary,
        "open": line.state == "open",
        "may_comment": line.may_comment and not drawn.detail.row.state.closed,
        # Whoever reviews looks at the commentary; whoever prepares writes it.
        "folded": not tried and (line.state != "open" or drawn.detail.row.kind.decided),
        "causes": [{"value": o.value, "label": o.label, "chosen": o.value == chosen} for o in causes],
        "cause": labels.get(line.root_cause or ""),
        "commentary": line.commentary,
        "text": text,
        "length": len(text.strip()),
        "least": MIN_COMMENTARY,
        "most": MAX_COMMENTARY,
        "by": line.commented_by,
        "at": drawn.clock(line.commented_at) if line.commented_at else "",
        "errors": {path: tried.problem(path) for path in ("root_cause", "commentary")} if tried else {},
        "error": tried.error.detail if tried and not tried.error.problems else "",
        "tried": tried is not None,
    }


def checklist(drawn: Drawn) -> dict[str, Any] | None:
    """The items with who ticked them and when."""
    items = drawn.detail.content.checklist
    if not items:
        return None
    answers = drawn.record.answers
    shown = []
    for item in items:
        answer = answers.get(item["code"])
        by = ""
        if answer is not None and item["done"]:
            person = drawn.person(answer.by, answer.by_id)
            by = f"{'you' if person['you'] else person['name']} {drawn.clock(answer.at)}"
        shown.append(
            {
                "code": item["code"],
                "label": item["label"],
                "done": item["done"],
                "by": by,
                "mandatory": item["mandatory"],
            }
        )
    tried = drawn.error_of("checklist")
    return {
        "items": shown,
        "summary": f"{sum(1 for item in items if item['done'])} of {len(items)}",
        "href": f"/processes/{drawn.detail.row.id}/checklist",
        "may": drawn.may_prepare,
        "error": tried.error.detail if tried else "",
    }


def evidence(drawn: Drawn) -> dict[str, Any] | None:
    """What is required, what is there in which versions, and the form to attach."""
    wanted, files = drawn.record.evidence, drawn.record.files
    may = drawn.may_prepare
    if not wanted and not files and not may:
        return None
    labels = {item.code: item.label for item in wanted}
    given = {file.purpose for file in files}
    required = [item for item in wanted if item.mandatory]
    have = sum(1 for item in required if item.code in given)
    tried, typed = drawn.error_of("files"), drawn.values_of("files")
    chosen = typed.get("purpose") or next((item.code for item in wanted if item.code not in given), "")
    return {
        "files": [_file(drawn, file, labels) for file in files],
        "missing": [
            {"label": item.label, "mandatory": item.mandatory, "types": _types(item)}
            for item in wanted
            if item.code not in given
        ],
        "need": len(required),
        "have": have,
        "may": may,
        "href": f"/processes/{drawn.detail.row.id}/files",
        "purposes": [{"value": item.code, "label": item.label, "chosen": item.code == chosen} for item in wanted],
        "accept": ",".join(f".{type_}" for item in wanted for type_ in item.file_types),
        "error": tried.error.detail if tried else "",
    }


def _types(item: WantedEvidence) -> str:
    return ", ".join(item.file_types)


def _file(drawn: Drawn, file: AttachedFile, labels: Mapping[str, str]) -> dict[str, Any]:
    ending = file.name.rpartition(".")[2].lower()
    latest, *older = file.versions
    return {
        "name": file.name,
        "icon": FILE_ICONS.get(ending, "file"),
        "purpose": labels.get(file.purpose or "", "Other"),
        "latest": _version(drawn, file.id, latest),
        "older": [_version(drawn, file.id, version) for version in older],
    }


def _version(drawn: Drawn, file_id: UUID, version: FileVersion) -> dict[str, Any]:
    person = drawn.person(version.added.by, version.added.by_id)
    return {
        "number": version.number,
        "href": f"/files/{file_id}/content?version={version.number}",
        "hash": short_hash(version.sha256),
        "sha256": version.sha256,
        "size": size_text(version.size),
        "by": person["name"],
        "you": person["you"],
        "at": drawn.clock(version.added.at),
    }


def size_text(size: int) -> str:
    """Bytes as a person says them."""
    if size < 1_000:
        return f"{size} B"
    if size < 1_000_000:
        return f"{size / 1_000:.0f} KB"
    return f"{size / 1_000_000:.1f} MB"


def results(drawn: Drawn) -> list[dict[str, Any]]:
    """What the automatic work that this builds on has reported: what a person decides on, where it is no figure."""
    return [
        {
            "label": found.label,
            "href": f"/processes/{found.process_run_id}",
            "facts": [_fact(drawn.formats, name, value) for name, value in sorted(found.result.items())],
        }
        for found in drawn.record.results
    ]


def _fact(formats: Formats, name: str, value: Any) -> dict[str, Any]:
    label = name.replace("_", " ").capitalize()
    match value:
        case list():
            return {"label": label, "value": "" if value else "none", "items": [_words(item) for item in value]}
        case bool():
            return {"label": label, "value": "yes" if value else "no", "items": []}
        case int():
            return {"label": label, "value": formats.number(value), "items": []}
        case str() if len(value) == HASH_LENGTH and " " not in value:
            return {"label": label, "value": short_hash(value), "items": []}
    return {"label": label, "value": _words(value), "items": []}


def _words(value: Any) -> str:
    """A reported value as a person reads it; of a finding its own text, where it has one."""
    if isinstance(value, Mapping):
        text = value.get("text") or value.get("message")
        return str(text) if text else ", ".join(f"{name}: {item}" for name, item in value.items())
    return str(value)


def jobs(drawn: Drawn, *, may_retry: bool, may_abort: bool) -> dict[str, Any] | None:
    """The jobs of an automatic process with their attempts and log."""
    if not drawn.record.jobs:
        return None
    latest = drawn.record.jobs[0]
    attempts = sum(len(job.attempts) for job in drawn.record.jobs)
    return {
        "summary": f"{_count(len(drawn.record.jobs), 'job')}, {_count(attempts, 'attempt')}",
        "tone": JOB_TONES.get(latest.state, "planned"),
        "label": latest.state.capitalize(),
        "open": latest.state != "succeeded" or drawn.error_of("jobs") is not None,
        "error": (tried := drawn.error_of("jobs")) and tried.error.detail,
        "jobs": [
            _job(drawn, job, may_retry=may_retry and job is latest, may_abort=may_abort) for job in drawn.record.jobs
        ],
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _job(drawn: Drawn, job: ProcessJob, *, may_retry: bool, may_abort: bool) -> dict[str, Any]:
    href = f"/processes/{drawn.detail.row.id}/jobs/{job.id}"
    return {
        "function": job.function,
        "href": f"/jobs/{job.id}",
        "tone": JOB_TONES.get(job.state, "planned"),
        "state": job.state.capitalize(),
        "attempt": f"{job.attempt} of {job.max_attempts}",
        "error": job.error,
        "fingerprint": short_hash(job.output_fingerprint),
        "retry_href": f"{href}/retry" if may_retry and job.state in STOPPED_JOBS else None,
        "abort_href": f"{href}/abort" if may_abort and job.state in LIVE_JOBS else None,
        "attempts": [
            {
                "number": attempt.number,
                "tone": JOB_TONES.get(attempt.state, "planned"),
                "state": attempt.state.capitalize(),
                "started": drawn.formats.local(attempt.started_at).strftime("%H:%M:%S"),
                "took": took(attempt.started_at, attempt.finished_at),
                "error": attempt.error,
                "log": log_lines(drawn.formats, attempt.log),
            }
            for attempt in job.attempts
        ],
    }


def took(started: datetime | None, finished: datetime | None) -> str:
    """How long something ran: "0.91 s", "12 min 5 s"."""
    if started is None or finished is None:
        return ""
    seconds = (finished - started).total_seconds()
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def log_lines(formats: Formats, log: tuple[Mapping[str, Any], ...]) -> str:
    """The log as text, one line each, in the reader's zone."""
    lines = []
    for line in log:
        at = formats.local(datetime.fromisoformat(str(line["at"])))
        level = str(line.get("level", "info"))
        lines.append(f"{at:%H:%M:%S}.{at.microsecond // 1000:03} {level:<7} {line.get('message', '')}")
    return "\n".join(lines)
