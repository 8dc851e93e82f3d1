"""Job results: what ran in the background, when, how often, with which result; and retrying or calling off one."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import orjson
from starlette.responses import Response

from admin_views import job_operations
from admin_views.job_operations import tabs_of, took_words
from admin_views.pages import PageRoute
from admin_views.process_parts import JOB_TONES, LIVE_JOBS, STOPPED_JOBS, log_lines, took
from admin_views.process_view import short_hash
from admin_views.visit import Visit, record_id
from app.core.audit import plain_value
from app.core.errors import Forbidden, InvalidRequest, NotFound, StepsError, Unauthenticated
from app.domain.jobs import runs as job_runs
from app.domain.jobs.attempts import JobState
from app.domain.jobs.concealing import concealed
from app.domain.jobs.results import JobDetail, JobLine, job_detail, job_functions, list_jobs
from app.domain.jobs.trends import FunctionTrend, function_trends, latest_seconds

PAGE_SIZE = 50
STATE_LABELS = {state: state.value.capitalize() for state in JobState}


async def jobs_page(visit: Visit) -> Response:
    """The list, by function, state and day; all of it in the address."""
    query = visit.request.query_params
    function, day = query.get("function") or None, _day(query.get("date"))
    state, before = _state(query.get("state")), _id(query.get("before"))
    since, until = _bounds(visit, day)
    async with visit.uow() as uow:
        counts = await job_functions(uow)
        lines = await list_jobs(
            uow,
            function=function,
            states=[state] if state else (),
            since=since,
            until=until,
            before=before,
            limit=PAGE_SIZE + 1,
        )
        trends = await function_trends(uow)
        seconds = await latest_seconds(uow, function=function) if function else []
        chosen = {
            "function": function or "",
            "state": state.value if state else "",
            "date": day.isoformat() if day else "",
        }
        page = {
            "tabs": tabs_of(visit, "/jobs"),
            "trends": [_trend(trend, chosen) for trend in trends if function in (None, trend.function)],
            "seconds": seconds if len(seconds) > 1 else [],
            "filters": _filters(counts, chosen),
            "filtered": any(chosen.values()),
            "rows": [_row(visit, line) for line in lines[:PAGE_SIZE]],
            "next_href": _address(chosen, before=lines[PAGE_SIZE - 1].id) if len(lines) > PAGE_SIZE else None,
            "first_href": _address(chosen) if before is not None else None,
            "zone": visit.formats.zone_name(uow.now),
        }
        return await visit.page(uow, "steps/jobs.html", "Job results", page=page)


def _filters(counts: Mapping[str, Mapping[JobState, int]], chosen: Mapping[str, str]) -> dict[str, Any]:
    of_function = [counts.get(chosen["function"], {})] if chosen["function"] else list(counts.values())
    by_state = {state: sum(number.get(state, 0) for number in of_function) for state in JobState}
    everything = {"label": "All", "count": sum(by_state.values()), "current": not chosen["state"]}
    return {
        "functions": [{"value": name, "chosen": name == chosen["function"]} for name in counts],
        "date": chosen["date"],
        "state": chosen["state"],
        "states": [
            {**everything, "href": _address({**chosen, "state": ""})},
            *(
                {
                    "label": STATE_LABELS[state],
                    "count": by_state[state],
                    "current": chosen["state"] == state.value,
                    "href": _address({**chosen, "state": state.value}),
                }
                for state in JobState
                if by_state[state] or chosen["state"] == state.value
            ),
        ],
    }


def _address(chosen: Mapping[str, str], *, before: UUID | None = None) -> str:
    given = {name: value for name, value in chosen.items() if value}
    if before is not None:
        given["before"] = str(before)
    return f"/jobs?{urlencode(given)}" if given else "/jobs"


def _trend(trend: FunctionTrend, chosen: Mapping[str, str]) -> dict[str, Any]:
    medians = [day.median_seconds for day in trend.days]
    return {
        "function": trend.function,
        "href": _address({**chosen, "function": trend.function}),
        "finished": trend.finished,
        "failed": trend.failed,
        "failed_href": _address({**chosen, "function": trend.function, "state": JobState.FAILED.value}),
        "median": _seconds_text(trend.median_seconds),
        "slow": _seconds_text(trend.slow_seconds),
        "medians": medians if any(medians) else [],
    }


def _seconds_text(seconds: float | None) -> str:
    return "" if seconds is None else took_words(timedelta(seconds=seconds))


def _row(visit: Visit, line: JobLine) -> dict[str, Any]:
    at = line.started_at or line.created_at
    return {
        "href": f"/jobs/{line.id}",
        "function": line.function,
        "tone": JOB_TONES[line.state],
        "state": STATE_LABELS[line.state],
        "process": {"label": line.process_label, "href": f"/processes/{line.process_run_id}", "run": line.run_reference}
        if line.process_run_id
        else None,
        "attempt": _attempts(line),
        "started": visit.formats.instant(at, zone=False),
        "took": took(line.started_at, line.finished_at),
        "error": (line.error or "").split("\n", 1)[0],
    }


def _attempts(line: JobLine) -> str:
    """The attempt among those it has before it gives up; retries by a person begin a new count."""
    return f"{line.attempt} of {max(line.max_attempts, line.attempt)}" if line.attempt else f"0 of {line.max_attempts}"


async def job_page(visit: Visit) -> Response:
    """One job run."""
    return await _show(visit, _job_id(visit))


async def command_page(visit: Visit) -> Response:
    """Retry or abort."""
    id_, command = _job_id(visit), visit.request.path_params["command"]
    reason = str((await visit.form()).get("reason") or "")
    if command not in ("retry", "abort"):
        raise NotFound("There is no such page.")
    try:
        async with visit.uow() as uow:
            if command == "retry":
                await job_runs.retry(uow, id_)
            else:
                await job_runs.abort(uow, id_, reason=reason)
    except (Unauthenticated, NotFound, Forbidden):
        raise
    except StepsError as error:
        return await _show(visit, id_, error, reason)
    return visit.go(f"/jobs/{id_}", flash="It is queued again." if command == "retry" else "It is called off.")


async def _show(visit: Visit, id_: UUID, error: StepsError | None = None, reason: str = "") -> Response:
    async with visit.uow() as uow:
        detail = await job_detail(uow, id_)
        page = {
            **_detail(visit, detail),
            "error": "; ".join(p.message for p in error.problems) or error.detail if error else "",
            "reason": reason,
        }
        status = error.status if error is not None else 200
        return await visit.page(uow, "steps/job.html", detail.job.function, status=status, page=page)


def _detail(visit: Visit, detail: JobDetail) -> dict[str, Any]:
    job, formats = detail.job, visit.formats
    href = f"/jobs/{job.id}"
    stopped, live = job.state in STOPPED_JOBS, job.state in LIVE_JOBS
    facts = [
        {"label": "Process", "value": job.process_label, "href": f"/processes/{job.process_run_id}"},
        {"label": "Run", "value": job.run_reference},
        {"label": "Attempt", "value": _attempts(job)},
        {"label": "Queued", "value": formats.instant(job.created_at)},
        {"label": "Took", "value": took(job.started_at, job.finished_at)},
        {"label": "Pause between attempts", "value": f"from {detail.backoff_seconds} s"},
        {"label": "Next attempt", "value": _next_attempt(visit, detail)},
    ]
    return {
        "topic": f"job_run:{job.id}",
        "href": href,
        "function": job.function,
        "tone": JOB_TONES[job.state],
        "state": STATE_LABELS[job.state],
        "facts": facts,
        "last_error": job.error if job.state is not JobState.SUCCEEDED else None,
        "arguments": _json(concealed(plain_value(detail.arguments))),
        "result": _json(concealed(plain_value(detail.result))) if detail.result else "",
        "input": {"short": short_hash(detail.input_fingerprint), "whole": detail.input_fingerprint},
        "output": {"short": short_hash(detail.output_fingerprint), "whole": detail.output_fingerprint},
        "retry_href": f"{href}/retry" if stopped and visit.may("retry", "job") else None,
        "abort_href": f"{href}/abort" if live and visit.may("abort", "job") else None,
        "attempts": [
            {
                "number": attempt.number,
                "tone": JOB_TONES.get(attempt.state, "planned"),
                "state": attempt.state.capitalize(),
                "worker": attempt.worker or "",
                "started": formats.instant(attempt.started_at),
                "took": took(attempt.started_at, attempt.finished_at),
                "error": attempt.error or "",
                "log": log_lines(formats, attempt.log),
            }
            for attempt in detail.attempts
        ],
    }


def _next_attempt(visit: Visit, detail: JobDetail) -> str | None:
    waiting = detail.job.state is JobState.RETRYING and detail.lease_until is not None
    return visit.formats.instant(detail.lease_until) if waiting and detail.lease_until else None


def _json(value: Any) -> str:
    return orjson.dumps(plain_value(value), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode()


def _job_id(visit: Visit) -> UUID:
    id_ = record_id(visit.request)
    if id_ is None:
        raise NotFound("There is no such job, or you may not see it.")
    return id_


def _state(text: str | None) -> JobState | None:
    try:
        return JobState(text) if text else None
    except ValueError:
        raise InvalidRequest(f"state: one of {', '.join(JobState)}.") from None


def _id(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        raise InvalidRequest("before: the id of a job.") from None


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise InvalidRequest("date: a date such as 2026-10-30.") from None


def _bounds(visit: Visit, day: date | None) -> tuple[datetime | None, datetime | None]:
    """A day of the person's zone as instants."""
    if day is None or day == date.max:
        return None, None
    start = datetime.combine(day, time(), visit.formats.zone)
    end = datetime.combine(day + timedelta(days=1), time(), visit.formats.zone)
    return start.astimezone(UTC), end.astimezone(UTC)


ROUTES: tuple[PageRoute, ...] = (
    PageRoute("/jobs", jobs_page),
    *job_operations.ROUTES,
    PageRoute("/jobs/{id}", job_page),
    PageRoute("/jobs/{id}/{command}", command_page, ("POST",)),
)
