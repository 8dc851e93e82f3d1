"""The navigation, by task: which pages and lists there are, in which order. Nothing is shown that is not there.

A page is named by its path and appears once a route of the site serves it; a list by its entity and appears to whoever
may read it. Entities that administrators define appear under "Records" by themselves.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from models.registry import Registry
from models.schema import EntityDef, EntityKind, Layer


@dataclass(frozen=True, slots=True)
class PageItem:
    """A page of its own. With `entity` only those see it who may do `action` there."""

    path: str
    label: str
    icon: str
    entity: str | None = None
    action: str = "read"


@dataclass(frozen=True, slots=True)
class ListItem:
    """The list of an entity; label and icon are the entity's own unless given."""

    entity: str
    label: str | None = None
    icon: str | None = None


Item = PageItem | ListItem

NAVIGATION: tuple[tuple[str | None, tuple[Item, ...]], ...] = (
    (
        None,
        (
            PageItem("/", "Home", "home"),
            PageItem("/work", "My work", "inbox"),
            PageItem("/notifications", "Notifications", "bell", "notification"),
            PageItem("/queries", "Queries", "message-2-question", "process_query"),
            ListItem("delegation", "Out of office"),
        ),
    ),
    (
        "Operate",
        (
            PageItem("/operations", "Operations Center", "layout-dashboard", "workflow_run"),
            PageItem("/runs", "Workflow runs", "git-branch", "workflow_run"),
            ListItem("workflow_run"),
            ListItem("process_run"),
            PageItem("/sla", "SLA monitor", "clock-exclamation", "sla_clock"),
            ListItem("sla_clock"),
            PageItem("/issues", "Support issues", "lifebuoy", "issue"),
            ListItem("issue"),
            PageItem("/escalations", "Escalations", "stairs-up", "escalation"),
            ListItem("file", "Documents", "folder"),
        ),
    ),
    (
        "Finance",
        (
            PageItem("/pnl", "PnL operations", "report-money", "pnl_fact"),
            PageItem("/dashboard", "Dashboards", "chart-bar", "pnl_fact"),
            ListItem("pnl_fact"),
            ListItem("breach"),
            ListItem("trade"),
            ListItem("position"),
            ListItem("market_rate"),
            ListItem("rate_load"),
            ListItem("pnl_threshold"),
        ),
    ),
    (
        "Configure",
        (
            PageItem("/workflows", "Workflows", "sitemap", "workflow"),
            ListItem("workflow"),
            ListItem("migration_plan"),
            PageItem("/lifecycles", "Lifecycles", "route", "lifecycle"),
            ListItem("rule"),
            ListItem("schedule"),
            ListItem("event_trigger"),
            PageItem("/hierarchies", "Hierarchies", "binary-tree", "hierarchy"),
            ListItem("hierarchy_node"),
            PageItem("/calendars", "Calendars", "calendar", "calendar"),
            ListItem("calendar"),
            PageItem("/sla/policies", "SLA policies", "ruler-2", "sla_policy"),
            ListItem("sla_policy"),
            ListItem("escalation_ladder"),
            ListItem("notification_rule"),
            ListItem("notification_template", "Message templates"),
            ListItem("notification_endpoint"),
            ListItem("duty_rule"),
            ListItem("rejection_reason"),
            ListItem("issue_rule"),
            ListItem("issue_category"),
            ListItem("issue_vendor"),
            ListItem("parameter"),
        ),
    ),
    (
        "Administer",
        (
            PageItem("/users", "Users and access", "users", "role_grant"),
            ListItem("user"),
            ListItem("role_grant"),
            ListItem("role"),
            ListItem("user_group"),
            ListItem("application"),
            ListItem("policy_line"),
            ListItem("user_session"),
            ListItem("access_token"),
            PageItem("/jobs", "Job results", "player-play", "job_run"),
            ListItem("job_run"),
            PageItem("/deliveries", "Deliveries", "mail", "mail_message"),
            ListItem("mail_message"),
            PageItem("/audit", "Audit", "shield-check", "audit_entry"),
        ),
    ),
)
# A list that a page of the same task replaces.
REPLACED_BY = {
    "calendar": "/calendars",
    "workflow": "/workflows",
    "workflow_run": "/runs",
    "sla_clock": "/sla",
    "sla_policy": "/sla/policies",
    "issue": "/issues",
    "hierarchy_node": "/hierarchies",
    "user": "/users",
    "job_run": "/jobs",
    "mail_message": "/deliveries",
}
# Records that have a page made for them; every other one has the generated page.
RECORD_PAGES = {
    "mail_message": "/deliveries",
    "notification_template": "/notification-templates",
    "lifecycle": "/lifecycles",
    "rule": "/rules",
    "workflow": "/workflows",
    "workflow_version": "/workflow-versions",
    "migration_plan": "/migrations",
    "schedule": "/schedules",
    "calendar": "/calendars",
    "calendar_version": "/calendar-versions",
    "event_trigger": "/triggers",
    "sla_policy": "/sla/policies",
    "sla_clock": "/sla/clocks",
    "workflow_run": "/runs",
    "process_run": "/processes",
    "escalation": "/escalations",
    "escalation_ladder": "/escalation-ladders",
    "process_query": "/queries",
    "job_run": "/jobs",
    "issue": "/issues",
}


def record_path(entity: EntityDef, id_: object) -> str:
    """Where a record is shown."""
    return f"{RECORD_PAGES.get(entity.name) or f'/data/{entity.slug}'}/{id_}"


def navigation(
    registry: Registry,
    *,
    has_page: Callable[[str], bool],
    may: Callable[[str, str], bool],
    at: str,
) -> list[dict[str, Any]]:
    """The groups of the navigation for a person, as steps/base.html shows them. `at`: the path of the page."""
    groups: list[dict[str, Any]] = []
    for label, items in (*NAVIGATION, ("Records", _added(registry))):
        shown = [entry for item in items if (entry := _entry(registry, item, has_page, may)) is not None]
        if shown:
            groups.append({"label": label, "items": shown})
    hrefs = [item["href"] for group in groups for item in group["items"]]
    active = _active(hrefs, at) or _active(hrefs, _listed(registry, at))
    for group in groups:
        for item in group["items"]:
            item["active"] = item["href"] == active
    return groups


def _added(registry: Registry) -> tuple[Item, ...]:
    """The lists of the entities that administrators have defined."""
    named = {item.entity for _, items in NAVIGATION for item in items if isinstance(item, ListItem)}
    added = (
        entity
        for entity in registry.entities.values()
        if entity.layer is Layer.SITE and entity.kind is not EntityKind.CHILD and entity.name not in named
    )
    return tuple(ListItem(entity.name) for entity in added)


def _entry(
    registry: Registry, item: Item, has_page: Callable[[str], bool], may: Callable[[str, str], bool]
) -> dict[str, Any] | None:
    if isinstance(item, PageItem):
        if not has_page(item.path) or (item.entity is not None and not may(item.action, item.entity)):
            return None
        return {"label": item.label, "href": item.path, "icon": item.icon, "count": None}
    entity = registry.entities.get(item.entity)
    if entity is None or not may("read", entity.name) or has_page(REPLACED_BY.get(entity.name, "")):
        return None
    href = f"/data/{entity.slug}"
    return {"label": item.label or entity.label_plural, "href": href, "icon": item.icon or entity.icon, "count": None}


def _listed(registry: Registry, at: str) -> str:
    """The list in which a record stands that is shown on a page of its own."""
    for name, page in RECORD_PAGES.items():
        if at.startswith(f"{page}/") and name in registry.entities:
            return f"/data/{registry.entity(name).slug}"
    return at


def _active(paths: list[str], at: str) -> str | None:
    """The longest path that the page is at or below."""
    above = [path for path in paths if at == path or (path != "/" and at.startswith(f"{path}/"))]
    return max(above, key=len, default=None)


def first_list(registry: Registry, *, may: Callable[[str, str], bool]) -> str | None:
    """The first list that a person may read."""
    groups = navigation(registry, has_page=lambda _path: False, may=may, at="")
    return next((item["href"] for group in groups for item in group["items"]), None)


def group_of(entity: str) -> str | None:
    """The group in which an entity's list stands."""
    for label, items in NAVIGATION:
        if any(isinstance(item, ListItem) and item.entity == entity for item in items):
            return label
    return None
