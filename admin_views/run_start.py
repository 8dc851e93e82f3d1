"""Starting a run by hand: the dialog on the list of runs and on the page of a workflow, and what it does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlalchemy import exists, select
from starlette.datastructures import FormData

from admin_views.visit import Visit
from app.core.errors import FieldProblem, StepsError, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.access.scope import scope
from app.domain.workflow.runs import create_run

RUN = "workflow_run"
MOST_OFFERED = 500
PATHS = ("workflow", "business_date", "variant")


@dataclass(frozen=True, slots=True)
class Tried:
    """What was typed and refused."""

    error: StepsError
    typed: Mapping[str, str] = field(default_factory=dict)


async def start_offer(
    visit: Visit, uow: UnitOfWork, *, code: str | None = None, tried: Tried | None = None
) -> dict[str, Any] | None:
    """The `start` of steps/_start_run.html; None for whoever may not start runs, or where there is nothing to start."""
    if visit.may("create", RUN) is None:
        return None
    workflows, versions = uow.table("workflow"), uow.table("workflow_version")
    published = exists().where(versions.c.workflow_id == workflows.c.id, versions.c.state == "published")
    statement = select(workflows.c.code, workflows.c.label).where(workflows.c.active, published)
    if code is not None:
        statement = statement.where(workflows.c.code == code)
    statement = scope(statement, uow, "read", "workflow").order_by(workflows.c.label).limit(MOST_OFFERED)
    offered = [{"code": row.code, "label": row.label} for row in await uow.execute(statement)]
    if not offered:
        return None
    problems = tried.error.problems if tried is not None else ()
    typed = {"business_date": uow.business_date.isoformat(), **(tried.typed if tried else {})}
    return {
        "workflows": offered,
        "typed": {path: typed.get(path, "") for path in PATHS},
        "errors": {path: next((p.message for p in problems if p.path == path), "") for path in PATHS},
        "error": tried.error.detail if tried is not None and not problems else "",
        "open": tried is not None,
    }


def typed_of(form: FormData) -> dict[str, str]:
    return {path: str(form.get(path) or "").strip()[:64] for path in PATHS}


async def start_run(visit: Visit, typed: Mapping[str, str]) -> tuple[str, bool]:
    """Create the run, or find the one of that date; return its address, and whether it is new. Raises StepsError."""
    day = _day(typed["business_date"])
    if not typed["workflow"]:
        raise ValidationFailed([FieldProblem("workflow", "Choose what is to run.", "required")])
    async with visit.uow() as uow:
        run_id = await create_run(uow, workflow=typed["workflow"], business_date=day, variant=typed["variant"])
        runs = uow.table(RUN)
        begun = await uow.scalar(select(runs.c.created_at).where(runs.c.id == run_id))
        return f"/runs/{run_id}", begun == uow.now


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        message = "Choose the business date." if not text else "Write a date such as 2026-10-30."
        raise ValidationFailed([FieldProblem("business_date", message, "invalid")]) from None
