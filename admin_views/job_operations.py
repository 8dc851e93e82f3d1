"""What keeps the platform going: periodic work, workers, the outbox and the queue, and what is kept for how long."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from starlette.responses import Response

from admin_views.formats import duration
from admin_views.pages import PageRoute
from admin_views.visit import Visit, record_id
from app.core.errors import Forbidden, NotFound, StepsError, Unauthenticated
from app.domain.jobs import periodic, retention
from app.domain.jobs.periodic_queries import SeenRun, SeenWork, seen_runs, seen_works
from app.domain.jobs.presence import SeenWorker, seen_workers
from app.domain.jobs.queries import JobBacklog, backlog, backlog_by_job

TABS = (
    ("/jobs", "Results", "player-play", "job_run"),
    ("/jobs/periodic", "Periodic work", "calendar-repeat", "periodic_work"),
    ("/jobs/workers", "Workers and queue", "server-2", "worker"),
    ("/jobs/retention", "Retention", "archive", "periodic_work"),
)
SLOW_SECONDS = 60  # a delivery that has waited longer is worth a look
LIVE = "entity:worker entity:periodic_work entity:periodic_run"


def tabs_of(visit: Visit, at: str) -> list[dict[str, Any]]:
    """The pages about jobs that the person may see."""
    return [
        {"label": label, "href": href, "icon": icon, "current": href == at, "count": None}
        for href, label, icon, entity in TABS
        if visit.may("read", entity) is not None
    ]


# -- periodic work ---------------------------------------------------------------------------------------------------


async def periodic_page(visit: Visit) -> Response:
    """The table of periodic work."""
    return await _show_periodic(visit)


async def _show_periodic(visit: Visit, error: StepsError | None = None) -> Response:
    async with visit.uow() as uow:
        works, workers, now = await seen_works(uow), await _workers(visit, uow), uow.now
        page = {
            "tabs": tabs_of(visit, "/jobs/periodic"),
            "live": LIVE,
            "error": _words(error),
            "no_worker": not any(worker.alive for worker in workers),
            "rows": [_work(visit, work, workers, now) for work in works],
        }
        return await visit.page(
            uow, "steps/jobs_periodic.html", "Periodic work", status=error.status if error else 200, page=page
        )


async def _workers(visit: Visit, uow: Any) -> list[SeenWorker]:
    return await seen_workers(uow) if visit.may("read", "worker") is not None else []


def _work(visit: Visit, work: SeenWork, workers: Sequence[SeenWorker], now: datetime) -> dict[str, Any]:
    told = [(worker.name, worker.works[work.code]) for worker in workers if worker.alive and work.code in worker.works]
    running = [name for name, state in told if "since" in state]
    ended = max((at for _, state in told if (at := _at(state, "finished")) is not None), default=None)
    coming = min((at for _, state in told if (at := _at(state, "next")) is not None), default=None)
    error = next((str(state["error"]) for _, state in told if state.get("error")), "")
    href = f"/jobs/periodic/{work.id}"
    may_pause = not work.essential and visit.may("pause", periodic.ENTITY) is not None
    return {
        "href": href,
        "label": work.label,
        "about": work.about,
        "every": duration(timedelta(seconds=work.seconds)),
        "state": _work_state(work, known=bool(told), running=bool(running), error=error),
        "error": error,
        "pause": f"{work.paused_by or 'Somebody'}: {work.paused_reason}" if work.paused_at else "",
        "asked_for": work.requested_at is not None,
        "looked": _ago(ended, now),
        "next": "" if work.paused_at else _ahead(coming, now),
        "last": _run(visit, work.last, now) if work.last else None,
        "essential": work.essential,
        "key": str(work.id)[-12:],
        "run_href": f"{href}/run" if visit.may("run", periodic.ENTITY) is not None else None,
        "pause_href": f"{href}/pause" if may_pause and not work.paused_at else None,
        "resume_href": f"{href}/resume" if may_pause and work.paused_at else None,
    }


def _work_state(work: SeenWork, *, known: bool, running: bool, error: str) -> dict[str, str]:
    if work.paused_at is not None:
        return {"tone": "on_hold", "label": "Paused"}
    if not known:
        return {"tone": "failed", "label": "No worker"}
    if error:
        return {"tone": "failed", "label": "Failed"}
    return {"tone": "in_progress", "label": "Running"} if running else {"tone": "done", "label": "In rhythm"}


def _run(visit: Visit, run: SeenRun, now: datetime) -> dict[str, Any]:
    return {
        "at": visit.formats.instant(run.started_at, zone=False),
        "ago": _ago(run.started_at, now),
        "took": took_words(run.busy),
        "times": run.times,
        "count": run.count,
        "failed": run.outcome != "succeeded",
        "error": run.error or "",
        "worker": run.worker,
        "asked_by": run.asked_by or "",
    }


async def work_page(visit: Visit) -> Response:
    """What was done of one work."""
    id_ = _id(visit)
    async with visit.uow() as uow:
        work = next((each for each in await seen_works(uow) if each.id == id_), None)
        if work is None:
            raise NotFound("There is no such periodic work.")
        workers, runs = await _workers(visit, uow), await seen_runs(uow, id_)
        page = {
            "live": LIVE,
            "work": _work(visit, work, workers, uow.now),
            "zone": visit.formats.zone_name(uow.now),
            "seconds": [run.busy.total_seconds() / run.times for run in reversed(runs)],
            "runs": [_run(visit, run, uow.now) for run in runs],
        }
        return await visit.page(uow, "steps/jobs_periodic_work.html", work.label, page=page)


async def work_command(visit: Visit) -> Response:
    """Pause, resume or run."""
    id_, command = _id(visit), visit.request.path_params["command"]
    reason = str((await visit.form()).get("reason") or "")
    try:
        async with visit.uow() as uow:
            match command:
                case "pause":
                    await periodic.pause_work(uow, id_, reason=reason)
                case "resume":
                    await periodic.resume_work(uow, id_)
                case "run":
                    await periodic.ask_for_work(uow, id_)
                case _:
                    raise NotFound("There is no such page.")
    except (Unauthenticated, NotFound, Forbidden):
        raise
    except StepsError as error:
        return await _show_periodic(visit, error)
    said = {"pause": "It is paused.", "resume": "It goes on.", "run": "A worker does it now."}
    return visit.go("/jobs/periodic", flash=said[command])


# -- workers, outbox, queue ------------------------------------------------------------------------------------------


async def workers_page(visit: Visit) -> Response:
    """Who works, on what, and what waits."""
    async with visit.uow() as uow:
        workers, by_job, whole = await seen_workers(uow), await backlog_by_job(uow), await backlog(uow)
        now = uow.now
        alive = [worker for worker in workers if worker.alive]
        depth = max((worker.queue_depth for worker in alive if worker.queue_depth is not None), default=None)
        page = {
            "tabs": tabs_of(visit, "/jobs/workers"),
            "live": LIVE,
            "figures": [
                _figure("Workers", str(len(alive)), "failed" if not alive else "done"),
                _figure("Jobs running", str(sum(len(worker.running) for worker in alive)), "planned"),
                _figure("Due and waiting", str(sum(each.waiting for each in by_job)), "planned"),
                _figure(
                    "Oldest waits",
                    took_words(timedelta(seconds=whole.oldest_seconds)) if whole.oldest_seconds >= 1 else "0 s",
                    "warn" if whole.oldest_seconds > SLOW_SECONDS else "done",
                ),
                _figure("Given up", str(whole.failed), "warn" if whole.failed else "done"),
                _figure("In the queue", "unknown" if depth is None else str(depth), "planned"),
            ],
            "redis": _redis(alive),
            "workers": [_worker(visit, worker, now) for worker in workers],
            "jobs": [_backlog(each) for each in by_job],
        }
        return await visit.page(uow, "steps/jobs_workers.html", "Workers and queue", page=page)


def _figure(label: str, value: str, tone: str) -> dict[str, str]:
    return {"label": label, "value": value, "tone": tone}


def _redis(alive: Sequence[SeenWorker]) -> dict[str, str]:
    if not alive:
        return {"tone": "", "text": ""}
    cut_off = [worker for worker in alive if not worker.redis_ok]
    if not cut_off:
        return {"tone": "ok", "text": "Redis answers every worker."}
    who = "no worker" if len(cut_off) == len(alive) else f"{len(cut_off)} of {len(alive)} workers not"
    return {
        "tone": "warn",
        "text": f"Redis answers {who}: jobs wait in the outbox and are done when it is back. Periodic work goes on.",
    }


def _worker(visit: Visit, worker: SeenWorker, now: datetime) -> dict[str, Any]:
    busy = [
        {"label": str(code).replace("-", " "), "href": None, "since": _ago(_at(state, "since"), now)}
        for code, state in worker.works.items()
        if worker.alive and "since" in state and code != "relay"
    ]
    jobs = [
        {
            "label": str(each.get("job", "")),
            "href": f"/jobs/{each['job_run']}" if each.get("job_run") and visit.may("read", "job_run") else None,
            "since": _ago(_at(each, "since"), now),
        }
        for each in worker.running
    ]
    tone, label = ("done", "Works") if worker.alive else ("cancelled", "Stopped")
    if worker.lost:
        tone, label = "failed", "Silent"
    return {
        "name": worker.name,
        "tone": tone,
        "state": label,
        "seen": _ago(worker.seen_at, now),
        "up": duration(_whole_seconds((worker.stopped_at or now) - worker.started_at)),
        "doing": [*jobs, *busy],
        "done": worker.done,
        "failed": worker.failed,
        "memory": f"{worker.memory_mb} MB" if worker.memory_mb is not None else "",
        "redis": worker.redis_said or "",
    }


def _backlog(each: JobBacklog) -> dict[str, Any]:
    return {
        "job": each.job,
        "waiting": each.waiting,
        "running": each.running,
        "later": each.later,
        "failed": each.failed,
        "oldest": took_words(timedelta(seconds=each.oldest_seconds)) if each.oldest_seconds >= 1 else "",
        "slow": each.oldest_seconds > SLOW_SECONDS,
    }


# -- retention -------------------------------------------------------------------------------------------------------


async def retention_page(visit: Visit) -> Response:
    """What is kept for how long, and what would go now."""
    return await _show_retention(visit)


async def _show_retention(visit: Visit, error: StepsError | None = None, code: str = "", typed: str = "") -> Response:
    may = visit.may("update", "parameter") is not None
    async with visit.uow() as uow:
        page = {
            "tabs": tabs_of(visit, "/jobs/retention"),
            "error": _words(error),
            "rows": [
                {
                    "code": kept.rule.code,
                    "label": kept.rule.label,
                    "about": kept.rule.about,
                    "days": typed if kept.rule.code == code else kept.days,
                    "least": kept.rule.least,
                    "most": retention.MOST_DAYS,
                    "wrong": kept.rule.code == code,
                    "ignored": kept.ignored or "",
                    "due": f"{'more than ' if kept.more else ''}{visit.formats.number(kept.due)}",
                    "href": f"/jobs/retention/{kept.rule.code}" if may else None,
                }
                for kept in await retention.what_is_kept(uow)
            ],
        }
        return await visit.page(
            uow, "steps/jobs_retention.html", "Retention", status=error.status if error else 200, page=page
        )


async def retention_command(visit: Visit) -> Response:
    """Change the days of a rule."""
    code, typed = visit.request.path_params["code"], str((await visit.form()).get("days") or "").strip()
    try:
        async with visit.uow() as uow:
            await retention.set_days(uow, code, int(typed) if typed.isdecimal() and len(typed) < 9 else -1)
    except (Unauthenticated, NotFound, Forbidden):
        raise
    except StepsError as error:
        return await _show_retention(visit, error, code, typed)
    return visit.go("/jobs/retention", flash="It is kept for so long from now on.")


# -- words -----------------------------------------------------------------------------------------------------------


def took_words(took: timedelta) -> str:
    """A length of time for a table: "18 ms", "2.4 s", "3 min 5 s"."""
    seconds = took.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else duration(_whole_seconds(took))


def _whole_seconds(value: timedelta) -> timedelta:
    return max(timedelta(seconds=round(value.total_seconds())), timedelta(0))


def _ago(at: datetime | None, now: datetime) -> str:
    if at is None:
        return ""
    passed = _whole_seconds(now - at)
    if passed >= timedelta(days=1):
        return f"{passed.days} d ago"
    minutes = passed // timedelta(minutes=1)
    return f"{passed.seconds} s ago" if passed < timedelta(minutes=2) else f"{_rough(minutes)} ago"


def _ahead(at: datetime | None, now: datetime) -> str:
    if at is None:
        return ""
    left = _whole_seconds(at - now)
    if left < timedelta(seconds=2):
        return "now"
    return f"in {left.seconds} s" if left < timedelta(minutes=2) else f"in {_rough(left // timedelta(minutes=1))}"


def _rough(minutes: int) -> str:
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"


def _at(state: Mapping[str, Any], name: str) -> datetime | None:
    text = state.get(name)
    return datetime.fromisoformat(text) if isinstance(text, str) else None


def _words(error: StepsError | None) -> str:
    return "; ".join(p.message for p in error.problems) or error.detail if error else ""


def _id(visit: Visit) -> UUID:
    id_ = record_id(visit.request)
    if id_ is None:
        raise NotFound("There is no such periodic work.")
    return id_


ROUTES: tuple[PageRoute, ...] = (
    PageRoute("/jobs/periodic", periodic_page),
    PageRoute("/jobs/periodic/{id}", work_page),
    PageRoute("/jobs/periodic/{id}/{command}", work_command, ("POST",)),
    PageRoute("/jobs/workers", workers_page),
    PageRoute("/jobs/retention", retention_page),
    PageRoute("/jobs/retention/{code}", retention_command, ("POST",)),
)
