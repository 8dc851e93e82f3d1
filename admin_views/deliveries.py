"""The log of deliveries for those who run the platform: what went out, what did not and why, and sending it again."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from starlette.responses import Response

from admin_views.navigation import RECORD_PAGES
from admin_views.pages import PageRoute
from admin_views.visit import Visit, record_id
from app.core.errors import InvalidRequest, NotFound, StepsError
from app.domain.notify import log
from app.domain.notify.log import CHANNELS, STATES, Delivery
from app.domain.notify.outgoing import send_again

HREF = RECORD_PAGES["mail_message"]
PAGE_SIZE = 50
TONES = {
    "queued": "submitted", "waiting": "waiting", "sent": "done", "kept": "skipped", "failed": "failed",
    "gathered": "done", "withdrawn": "cancelled",
}  # fmt: skip
CHANNEL_LABELS = {"email": "E-mail", "webhook": "Webhook", "chat": "Chat or SMS"}
CHANNEL_ICONS = {"email": "mail", "webhook": "webhook", "chat": "message"}
AGAIN = ("failed", "kept", "withdrawn", "waiting")


async def deliveries_page(visit: Visit) -> Response:
    """The list, by state and channel; all of it in the address."""
    query = visit.request.query_params
    chosen = {
        "state": _one_of(query.get("state"), STATES, "state"),
        "channel": _one_of(query.get("channel"), CHANNELS, "channel"),
        "q": query.get("q", "").strip()[:100],
    }
    before = _uuid(query.get("before"))
    async with visit.uow() as uow:
        counts = await log.state_counts(uow)
        rows = await log.deliveries(
            uow,
            state=chosen["state"] or None,
            channel=chosen["channel"] or None,
            search=chosen["q"],
            before=before,
            limit=PAGE_SIZE + 1,
        )
        page = {
            "states": _states(counts, chosen),
            "channels": CHANNEL_LABELS,
            "chosen": chosen,
            "filtered": any(chosen.values()),
            "rows": [_row(visit, row) for row in rows[:PAGE_SIZE]],
            "next_href": _address(chosen, before=rows[PAGE_SIZE - 1].id) if len(rows) > PAGE_SIZE else None,
            "first_href": _address(chosen) if before is not None else None,
            "self": _address(chosen, before=before) if before else _address(chosen),
            "live_topic": "entity:mail_message" if visit.site.listener is not None else None,
        }
        return await visit.page(uow, "steps/deliveries.html", "Deliveries", page=page)


def _states(counts: Any, chosen: dict[str, str]) -> list[dict[str, Any]]:
    everything = {
        "label": "All",
        "count": sum(counts.values()),
        "current": not chosen["state"],
        "href": _address({**chosen, "state": ""}),
    }
    return [
        everything,
        *(
            {
                "label": state.capitalize(),
                "count": counts.get(state, 0),
                "current": chosen["state"] == state,
                "href": _address({**chosen, "state": state}),
            }
            for state in STATES
            if counts.get(state) or chosen["state"] == state
        ),
    ]


def _row(visit: Visit, row: Delivery) -> dict[str, Any]:
    return {
        "href": f"{HREF}/{row.id}",
        "subject": row.subject,
        "recipient": row.person or row.recipient,
        "address": row.recipient if row.person else "",
        "channel": CHANNEL_LABELS[row.channel],
        "icon": CHANNEL_ICONS[row.channel],
        "tone": TONES[row.state],
        "state": row.state.capitalize(),
        "attempts": row.attempts,
        "error": row.error or "",
        "at": visit.formats.instant(row.created_at),
        "sent": visit.formats.instant(row.sent_at) if row.sent_at else "",
        "until": visit.formats.instant(row.not_before) if row.not_before and row.state == "waiting" else "",
    }


async def delivery_page(visit: Visit) -> Response:
    """One message as it was, or is to be, sent."""
    return await _show(visit, _id(visit))


async def _show(visit: Visit, id_: UUID, error: StepsError | None = None) -> Response:
    async with visit.uow() as uow:
        row = await log.delivery(uow, id_=id_)
        shown = _row(visit, row)
        facts = [
            {"label": "To", "value": shown["recipient"]},
            {"label": "Address", "value": shown["address"]},
            {"label": "Channel", "value": shown["channel"]},
            {"label": "Rule", "value": row.rule or ""},
            {"label": "Written", "value": shown["at"]},
            {"label": "Sent", "value": shown["sent"]},
            {"label": "Waits until", "value": shown["until"]},
            {"label": "Attempts", "value": str(row.attempts)},
        ]
        page = {
            **shown,
            "facts": facts,
            "text": row.text_body,
            "problem": error.detail if error else "",
            "about": row.link if row.link and row.link.startswith("/") and not row.link.startswith("//") else None,
            "gathered_in": f"{HREF}/{row.gathered_in}" if row.gathered_in else None,
            "carries": [
                {"href": f"{HREF}/{of}", "subject": subject} for of, subject in await log.gathered(uow, id_=id_)
            ],
            "send_href": f"{HREF}/{id_}/send" if row.state in AGAIN and visit.may("retry", "mail_message") else None,
            "live_topic": f"mail_message:{id_}" if visit.site.listener is not None else None,
        }
        status = error.status if error else 200
        return await visit.page(uow, "steps/delivery.html", row.subject, status=status, page=page)


async def send_page(visit: Visit) -> Response:
    """Send a message again."""
    id_ = _id(visit)
    try:
        async with visit.uow() as uow:
            await send_again(uow, mail_id=id_)
    except StepsError as error:
        if error.status != 409:
            raise
        return await _show(visit, id_, error)
    return visit.go(f"{HREF}/{id_}", flash="The message is on its way again.")


def _id(visit: Visit) -> UUID:
    id_ = record_id(visit.request)
    if id_ is None:
        raise NotFound("There is no such message.")
    return id_


def _one_of(given: str | None, known: tuple[str, ...], what: str) -> str:
    if given and given not in known:
        raise InvalidRequest(f"There is no {what} {given[:40]!r}; there are {', '.join(known)}.")
    return given or ""


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        raise InvalidRequest("before: the id of the last message of the page before") from None


def _address(chosen: dict[str, str], *, before: UUID | None = None) -> str:
    values = {name: value for name, value in chosen.items() if value}
    if before is not None:
        values["before"] = str(before)
    return f"{HREF}?{urlencode(values)}" if values else HREF


ROUTES: tuple[PageRoute, ...] = (
    PageRoute(HREF, deliveries_page),
    PageRoute(f"{HREF}/{{id}}", delivery_page),
    PageRoute(f"{HREF}/{{id}}/send", send_page, ("POST",)),
)
