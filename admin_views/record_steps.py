"""What a record's page shows of its lifecycle: the state, the steps with their dialogs, and the log as a timeline."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from admin_views.cells import TONES
from admin_views.details import drawing_of
from admin_views.form_endpoints import locked_reason, titles_in_form
from admin_views.form_model import Control, FormModel, form_model
from admin_views.form_values import Posted
from admin_views.forms import Filling, FormPage
from admin_views.wording import sentence, small
from app.core.errors import FieldProblem, StepsError, TransitionRefused, ValidationFailed
from app.core.uow import UnitOfWork
from app.domain.entities.queries import Page
from app.domain.lifecycles.queries import LogEntry, RecordSteps, StepOffer, log_of, steps_of
from models.lifecycle import StateDef
from models.registry import Registry
from models.schema import EntityDef

if TYPE_CHECKING:
    from admin_views.base import StepsModelView
    from admin_views.visit import Visit

LOG_PAGE = 50
ICONS = {"draft": "arrow-back-up", "active": "arrow-right", "waiting": "send", "final": "check", "void": "ban"}

# The colours of the categories, for what is no chip.
DOTS = {"draft": "planned", "active": "in_progress", "final": "done", "void": "cancelled"}


@dataclass(frozen=True, slots=True)
class RefusedStep:
    """A step that was asked for and refused, with what was typed."""

    name: str
    error: StepsError
    comment: str = ""
    posted: Posted | None = None

    @property
    def in_dialog(self) -> bool:
        """Whether it is about what was typed; everything else stands above the record."""
        return isinstance(self.error, ValidationFailed)


def follows_lifecycle(entity: EntityDef, record: Any) -> bool:
    return entity.takes_steps and record.get("lifecycle_version") is not None


def state_chip_of(state: StateDef) -> dict[str, Any]:
    """The chip of a state: its own colour where it names one of the visual language, else that of its category."""
    tone = state.colour if state.colour in TONES else state.category
    return {"state": tone, "label": state.label, "icon": None}


async def steps_panel(
    visit: "Visit", view: "StepsModelView", uow: UnitOfWork, found: Page, *, refused: RefusedStep | None = None
) -> dict[str, Any]:
    """The `steps` of steps/detail.html: state, lifecycle, actions, error, locked."""
    record = found.records[0]
    steps = await steps_of(uow, entity=view.entity.name, record_id=record["id"])
    address = f"{view.path}/{record['id']}/steps"
    actions = [
        await _action(visit, uow, view.entity, found, offer, address=address, refused=refused) for offer in steps.offers
    ]
    return {
        "state": state_chip_of(steps.state),
        "lifecycle": f"{steps.lifecycle.definition.label}, version {steps.lifecycle.number}",
        # What can be done comes first; among that, what the lifecycle says first.
        "actions": sorted(actions, key=lambda action: not action["allowed"]),
        "error": _error(refused, steps) if refused is not None and not refused.in_dialog else None,
        "locked": await locked_reason(uow, view.entity, record),
    }


async def _action(
    visit: "Visit",
    uow: UnitOfWork,
    entity: EntityDef,
    found: Page,
    offer: StepOffer,
    *,
    address: str,
    refused: RefusedStep | None,
) -> dict[str, Any]:
    step, approvals = offer.step, offer.step.approvals
    mine = refused if refused is not None and refused.name == step.name and refused.in_dialog else None
    signing = approvals.count > 1 or bool(approvals.distinct_from)
    typed = [] if mine is None or mine.posted is None else [n for n in mine.posted.raw if n in step.require_fields]
    wanted = (*offer.missing, *typed)
    asks = step.require_comment or bool(wanted) or step.tone == "danger" or signing or mine is not None
    drawn = await step_fields(visit, uow, entity, found, step=step.name, names=wanted, refused=mine)
    fields, problems = drawn if offer.allowed else ([], ())
    return {
        "name": step.name,
        "label": step.label,
        "icon": ICONS[offer.to.category],
        "href": f"{address}/{step.name}",
        "primary": step.tone == "primary",
        "danger": step.tone == "danger",
        "allowed": offer.allowed,
        "reason": offer.refusal.detail if offer.refusal else None,
        "satisfy": offer.refusal.satisfy if offer.refusal else None,
        "dialog": asks,
        "to": state_chip_of(offer.to),
        "text": _consequence(offer),
        "comment_required": step.require_comment,
        "comment": mine.comment if mine else "",
        "comment_error": next((sentence(p.message) for p in problems if p.path == "comment"), None),
        "fields": fields,
        "errors": [sentence(f"{p.path}: {p.message}") for p in problems if p.path not in ("comment", *wanted)],
        "open": mine is not None,
        "approvals": _approvals_text(offer),
    }


async def step_fields(
    visit: "Visit",
    uow: UnitOfWork,
    entity: EntityDef,
    found: Page,
    *,
    step: str,
    names: Iterable[str],
    refused: RefusedStep | None,
) -> tuple[list[dict[str, Any]], Sequence[FieldProblem]]:
    """The controls of the fields that a step asks for, and what was wrong with what was typed."""
    problems = refused.error.problems if refused else ()
    model = step_model(uow.registry, entity, names)
    if not model.controls:
        return [], problems
    filling = Filling(
        record=found.records[0],
        titles=found.titles[0] if found.titles else {},
        posted=refused.posted if refused else None,
        problems=problems,
    )
    filling.other_titles = await titles_in_form(uow, model, filling)
    page = FormPage(visit, uow, model, filling, drawing_of(visit, uow, entity, titles=filling.other_titles))
    fields = []
    for drawn in page.controls():
        drawn |= {"id": f"step-{step}-{drawn['name']}", "required": drawn["widget"] != "boolean", "width": 3}
        drawn |= {"read_only": drawn["widget"] == "static", "help": page.help_of(drawn["name"])}
        drawn |= {"hidden": False, "visible_if": None, "required_if": None, "read_only_if": None}
        fields.append(drawn)
    return fields, problems


def shown_controls(controls: Iterable[Control], wanted: set[str]) -> tuple[Control, ...]:
    return tuple(control for control in controls if control.field.name in wanted)


def step_model(registry: Registry, entity: EntityDef, names: Iterable[str]) -> FormModel:
    """The form of an entity with these fields only."""
    wanted, model = set(names), form_model(registry, entity.name)
    tabs = []
    for tab in model.tabs:
        sections = [
            replace(section, visible_if=None, lines=None, controls=shown_controls(section.controls, wanted))
            for section in tab.sections
        ]
        kept = tuple(section for section in sections if section.controls)
        if kept:
            tabs.append(replace(tab, sections=kept))
    return replace(model, tabs=tuple(tabs))


def _consequence(offer: StepOffer) -> str:
    """What pressing the button does, in words; the chip of the new state follows."""
    if offer.waits_for:
        people = "one more person" if offer.waits_for == 1 else f"{offer.waits_for} more people"
        return f"Your approval counts. Once {people} approved it as well, the state becomes"
    return "The state becomes"


def _approvals_text(offer: StepOffer) -> str | None:
    """ "Verify, 1 of 2: Elena Rossi" where it takes several people."""
    if offer.step.approvals.count < 2:
        return None
    given = ", ".join(approval.actor_name for approval in offer.given)
    count = f"{offer.step.label}, {len(offer.given)} of {offer.step.approvals.count} approvals"
    return f"{count}: {given}" if given else count


def _error(refused: RefusedStep, steps: RecordSteps) -> str:
    step = steps.lifecycle.transitions.get(refused.name)
    satisfy = refused.error.context.get("satisfy") if isinstance(refused.error, TransitionRefused) else ""
    label = f"{step.label}: " if step is not None else ""
    return f"{label}{refused.error.detail} {satisfy or ''}".strip()


# -- the log ---------------------------------------------------------------------------------------------------------


async def steps_log(visit: "Visit", uow: UnitOfWork, entity: EntityDef, id_: UUID) -> dict[str, Any]:
    """The `log` of steps/_steps_log.html, newest first."""
    entries = await log_of(uow, entity=entity.name, record_id=id_, limit=LOG_PAGE)
    return {
        "entries": [_entry(visit, uow, entry) for entry in entries],
        "empty_text": f"Steps appear here with who took them, when and why. This {small(entity.label)} has taken none.",
        "more": len(entries) == LOG_PAGE,
    }


def _entry(visit: "Visit", uow: UnitOfWork, entry: LogEntry) -> dict[str, Any]:
    tone = entry.colour if entry.colour in TONES else entry.category
    return {
        "at_text": visit.formats.moment(entry.at, uow.now),
        "at_iso": entry.at.isoformat(),
        "label": entry.label,
        "who": entry.actor_name,
        "you": entry.actor_id == visit.actor.id,
        "on_behalf_of": entry.on_behalf_of,
        "from": entry.from_label,
        "to": entry.to_label,
        "tone": tone,
        "dot": DOTS.get(tone, tone) if entry.taken else "in_review",
        "taken": entry.taken,
        "ended": entry.ended,
        "comment": entry.comment,
        "approvers": ", ".join(entry.approvers),
    }
