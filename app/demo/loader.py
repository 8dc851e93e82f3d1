"""Load the sample bank: users, calendar, hierarchies, trades, workflow; then let its history run."""

from datetime import UTC, datetime, time
from uuid import UUID

from sqlalchemy import insert, select, text

from app.bootstrap import Runtime, build
from app.core.actor import system_actor
from app.core.errors import Forbidden
from app.core.progress import Progress, no_progress
from app.core.settings import Settings, SettingsError
from app.core.start_state import DEMO_LOADED, remember_demo
from app.core.uow import UnitOfWork
from app.demo.history import run_history, run_today
from app.demo.package import DemoPackage, DemoUser
from app.demo.rules import load_rule
from app.demo.trading import check_trades, load_trades
from app.domain.access.accounts import AccountKind, create_user, find_account, set_password
from app.domain.access.grants import grant_role
from app.domain.access.passwords import verify_password
from app.domain.access.policy_files import read_policy_files
from app.domain.calendars.drafts import import_holidays
from app.domain.calendars.versions import publish_version
from app.domain.entities.service import create_record, create_records
from app.domain.finance.market_data import load_rate_day
from app.domain.finance.positions import load_positions
from app.domain.hierarchy.csv_import import apply_import, plan_import, read_csv
from app.domain.hierarchy.service import create_hierarchy
from app.domain.prediction.keeping import refresh_forecast
from app.domain.prediction.profiles import refresh_profiles
from app.domain.sla.policies import ensure_shipped_policies
from app.domain.workflow.definition_store import save_draft
from app.domain.workflow.package_loader import load_workflow
from app.domain.workflow.publishing import publish
from models.base import uuid7
from models.system.tables import demo_clock

DEMO_LOCK = 0x64656D6F
OFFICE_HOURS = [["07:00", "20:00"]]
# The moment of the demo day at which a person enters: rates are in, and people have work.
ENTER_AT = time(16, 3)


async def load_demo(
    settings: Settings, progress: Progress = no_progress, *, package: DemoPackage | None = None
) -> bool:
    """Load the demo once; True when this call did. Demo users who have another password are given the configured one.

    Raises: Forbidden outside demo mode.
    """
    if not settings.demo:
        raise Forbidden("The demo is loaded in demo mode only: set STEPS_DEMO=true.")
    runtime = await build(settings)
    try:
        async with runtime.engine.connect() as lock:
            await lock.execute(text("SELECT pg_advisory_lock(:key)"), {"key": DEMO_LOCK})
            package = package or DemoPackage()
            loaded = await _is_loaded(runtime)
            if not loaded:
                await _refuse_rest(runtime, package)
                await _load(runtime, package, settings, progress)
            else:
                await _renew_passwords(runtime, package, settings)
            remember_demo(settings, {email: hash_ for _, email, hash_ in await _accounts(runtime, package)})
        return not loaded
    finally:
        await runtime.aclose()


async def _is_loaded(runtime: Runtime) -> bool:
    async with runtime.uow(system_actor("Demo")) as uow:
        parameters = uow.table("parameter")
        return await uow.scalar(select(parameters.c.id).where(parameters.c.code == DEMO_LOADED)) is not None


async def _refuse_rest(runtime: Runtime, package: DemoPackage) -> None:
    """A demo whose loading was broken off cannot be taken up: what is there belongs to a bank that is not whole."""
    if await _accounts(runtime, package):
        raise SettingsError(
            "the demo was broken off while it loaded, so this database holds a part of it; remove the data folder "
            "(STEPS_DATA_DIR, by default `var`) or name an empty database, and start again"
        )


def _password(settings: Settings) -> str:
    if settings.demo_password is None:
        raise Forbidden("The demo users have no password: set STEPS_DEMO_PASSWORD, or start with `steps run`.")
    return settings.demo_password.get_secret_value()


async def _renew_passwords(runtime: Runtime, package: DemoPackage, settings: Settings) -> None:
    """Only where the password does not fit: setting it ends the user's sessions."""
    if settings.demo_password is None:
        return
    for user_id, _, hash_ in await _accounts(runtime, package):
        if (await verify_password(_password(settings), hash_)).fits:
            continue
        async with runtime.uow(system_actor("Demo")) as uow:
            await set_password(
                uow, user_id=user_id, password=_password(settings), must_change_password=False, demo=True
            )


async def _accounts(runtime: Runtime, package: DemoPackage) -> list[tuple[UUID, str, str | None]]:
    """Id, e-mail address and stored hash of the demo users that are still there."""
    async with runtime.uow(system_actor("Demo")) as uow:
        users = uow.table("user")
        statement = select(users.c.id, users.c.email, users.c.password_hash).where(
            users.c.email.in_([user.email for user in package.users()]),
            users.c.account_kind == AccountKind.PERSON,
            users.c.deleted_at.is_(None),
        )
        return [(row.id, row.email, row.password_hash) for row in await uow.execute(statement)]


async def _load(runtime: Runtime, package: DemoPackage, settings: Settings, progress: Progress) -> None:
    first_day = package.date_of(-75)
    start = datetime.combine(first_day, time(8), UTC)
    actor = system_actor("Demo")
    progress("Sample bank", 0, 4)
    async with runtime.uow(actor, now=start) as uow:
        await _people(uow, package, _password(settings))
        await _calendar(uow, package)
        await ensure_shipped_policies(uow)
    async with runtime.uow(actor, now=start) as uow:
        await _hierarchies(uow, package)
    async with runtime.uow(actor, now=start) as uow:
        await _scoped_grants(uow, package)
        await _rate_parameter(uow, package)
        version = await save_draft(uow, definition=load_workflow(package.workflow_text()), notes="First version")
        await publish(uow, version_id=version, notes="First version")
    await runtime.reload_policy()
    progress("Sample bank", 1, 4)
    async with runtime.uow(actor, now=start) as uow:
        nodes = await _nodes(uow)
        await _thresholds(uow, package, nodes)
        await _positions(uow, package, nodes)
    progress("Sample bank", 2, 4)
    await load_trades(runtime, package, nodes, start=start)
    progress("Sample bank", 3, 4)
    await _days_before_history(runtime, package)
    progress("Sample bank", 4, 4)
    await run_history(runtime, package, progress)
    await run_today(runtime, package, until=ENTER_AT)
    await check_trades(runtime, package)
    await _forecast(runtime, package)
    async with runtime.uow(actor, now=package.instant(package.today, ENTER_AT)) as uow:
        await _schedule(uow, package)
    async with runtime.uow(actor, now=runtime.clock.real()) as uow:
        await _set_clock(uow, settings, package)
        await create_record(uow, "parameter", {"code": DEMO_LOADED, "label": "Demo loaded", "value": True})
    await runtime.reload_clock()


async def _people(uow: UnitOfWork, package: DemoPackage, password: str) -> None:
    for application in package.settings["applications"]:
        known = uow.table("application")
        if await uow.scalar(select(known.c.id).where(known.c.code == application["code"])) is None:
            await create_record(uow, "application", dict(application))
    roles = uow.table("role")
    have = set((await uow.execute(select(roles.c.code))).scalars())
    for role in read_policy_files().roles:
        if role.code not in have:
            values = {"code": role.code, "label": role.label, "description": role.description}
            await create_record(uow, "role", values)
    for user in package.users():
        user_id = await create_user(
            uow, email=user.email, name=user.name, password=password, must_change_password=False, demo=True
        )
        if user.node is None:
            await _grant(uow, user, user_id, None)


async def _scoped_grants(uow: UnitOfWork, package: DemoPackage) -> None:
    nodes = await _nodes(uow)
    for user in package.users():
        if user.node is not None:
            account = await find_account(uow, email=user.email)
            await _grant(uow, user, account.id, nodes[user.node])


async def _grant(uow: UnitOfWork, user: DemoUser, user_id: UUID, node_id: UUID | None) -> None:
    for role in user.roles:
        await grant_role(
            uow, user_id=user_id, role=role, application=user.application, node_id=node_id, reason="Demo user"
        )


async def _calendar(uow: UnitOfWork, package: DemoPackage) -> None:
    code, zone = package.settings["calendar"], package.settings["zone"]
    values = {"code": code, "label": "TARGET (ECB euro system)", "zone": zone}
    calendar = await create_record(uow, "calendar", values)
    windows = {str(day): OFFICE_HOURS for day in range(5)}
    first = {"calendar": str(calendar["id"]), "number": 1, "weekly_windows": windows, "notes": "Office hours"}
    version = await create_record(uow, "calendar_version", first)
    await publish_version(uow, version_id=version["id"])
    years = range(package.date_of(-75).year - 1, package.today.year + 3)
    draft = await import_holidays(uow, calendar_code=code, years=years, source="TARGET", notes="ECB holidays")
    await publish_version(uow, version_id=draft)


async def _hierarchies(uow: UnitOfWork, package: DemoPackage) -> None:
    for given in package.settings["hierarchies"]:
        await create_hierarchy(uow, code=given["code"], label=given["label"], level_labels=", ".join(given["levels"]))
        rows = read_csv(package.hierarchy_csv(given["file"]))
        plan = await plan_import(uow, hierarchy_code=given["code"], rows=rows, as_of=uow.now.date())
        await apply_import(uow, plan)


async def _nodes(uow: UnitOfWork) -> dict[str, UUID]:
    """Code -> id of the nodes of the desk hierarchy."""
    nodes, hierarchies = uow.table("hierarchy_node"), uow.table("hierarchy")
    statement = select(nodes.c.code, nodes.c.id).join(hierarchies, hierarchies.c.id == nodes.c.hierarchy_id)
    rows = await uow.execute(statement.where(hierarchies.c.code == "DESK"))
    return {row.code: row.id for row in rows}


async def _rate_parameter(uow: UnitOfWork, package: DemoPackage) -> None:
    rates = package.settings["rates"]
    value = {name: rates[name] for name in ("expected", "limits", "limits_by_currency")}
    text_ = "Which currencies are expected every day, and when a rate is flagged as stale or as an outlier."
    values = {"code": "finance.rate_checks", "label": "Rate checks", "value": value, "description": text_}
    await create_record(uow, "parameter", values)


async def _thresholds(uow: UnitOfWork, package: DemoPackage, nodes: dict[str, UUID]) -> None:
    rule = str(await load_rule(uow, package.threshold_rule()))
    rows = [
        {name: value for name, value in {**row, "node": str(nodes[row["node"]]), "rule": rule}.items() if value}
        for row in package.thresholds()
    ]
    await create_records(uow, "pnl_threshold", rows)


async def _positions(uow: UnitOfWork, package: DemoPackage, nodes: dict[str, UUID]) -> None:
    stamp = {"created_at": uow.now, "created_by": uow.actor.id, "updated_at": uow.now, "updated_by": uow.actor.id}
    rows = [
        {
            "id": uuid7(),
            "business_date": day,
            "book_id": nodes[book],
            "currency": currency,
            "opening": quantity,
            "traded": 0,
            "closing": quantity,
            "version": 1,
            "current": True,
            **stamp,
        }
        for day, book, currency, quantity in package.positions()
    ]
    await uow.execute(insert(uow.table("position")), rows)


async def _days_before_history(runtime: Runtime, package: DemoPackage) -> None:
    """Rates and positions before the first run: checks look back on them, and the first PnL starts from them."""
    first_positions = min(day for day, *_ in package.positions())
    for offset in range(-75 - 60, -package.history_days):
        day = package.date_of(offset)
        now = datetime.combine(day, time(15, 5), UTC)
        async with runtime.uow(system_actor("Demo"), now=now) as uow:
            await load_rate_day(uow, day)
            if day > first_positions:
                await load_positions(uow, day)


async def _schedule(uow: UnitOfWork, package: DemoPackage) -> None:
    """From here on the platform creates the runs by itself."""
    given = dict(package.settings["schedule"])
    workflows = uow.table("workflow")
    code = package.settings["run"]["workflow"]
    workflow_id = await uow.scalar(select(workflows.c.id).where(workflows.c.code == code))
    values = {"workflow": str(workflow_id), "valid_from": package.today.isoformat(), **given}
    await create_record(uow, "schedule", values)


async def _forecast(runtime: Runtime, package: DemoPackage) -> None:
    """What the history says of the run that people find: so that they see it at once, and not after the worker."""
    now = package.instant(package.today, ENTER_AT)
    async with runtime.uow(system_actor("Forecast"), now=now) as uow:
        workflows, runs = uow.table("workflow"), uow.table("workflow_run")
        for workflow_id in (await uow.execute(select(workflows.c.id))).scalars().all():
            await refresh_profiles(uow, workflow_id=workflow_id)
        for run_id in (await uow.execute(select(runs.c.id).where(runs.c.state == "active"))).scalars().all():
            await refresh_forecast(uow, run_id=run_id)


async def _set_clock(uow: UnitOfWork, settings: Settings, package: DemoPackage) -> None:
    """Shift the time so that today is the last date of the rate file. Refused outside demo mode."""
    if not settings.demo:
        raise Forbidden("The clock is shifted in demo mode only.")
    enter = package.instant(package.today, ENTER_AT)
    real = uow.resources.clock.real()
    await uow.execute(insert(demo_clock).values(shift=enter - real, set_at=real))
    uow.touch("clock")
