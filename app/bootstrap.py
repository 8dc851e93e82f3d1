"""Build a running platform from its settings: engine, registry, clock, policy, and THE event -> handler table."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from app.core.actor import Actor
from app.core.clock import Clock
from app.core.db import create_engine, read_shift
from app.core.events import DeliveryFailed, Gathered, Handlers, RecordCreated, RecordDeleted, RecordUpdated
from app.core.file_store import open_file_store
from app.core.secret_box import SecretBox
from app.core.settings import Settings, SettingsError
from app.core.site_entities import read_site_entities, registry_with
from app.core.uow import Resources, UnitOfWork
from app.domain.access.accounts import end_access_of_deleted_user, end_access_of_inactive_user
from app.domain.access.delegations import check_written_delegation
from app.domain.access.grants import check_written_grant, touch_policy
from app.domain.access.policy import AccessPolicy, load_policy
from app.domain.calendars.events import CalendarPublished
from app.domain.entities.record_checks import SERVICE as RECORD_CHECKS
from app.domain.entities.record_states import SERVICE as RECORD_STATES
from app.domain.escalation import starting as escalations
from app.domain.finance.actions import ACTIONS
from app.domain.finance.process_controls import breaches_commented, signed_figures
from app.domain.jobs.events import JobFailed, JobWasAborted
from app.domain.lifecycles.compiled import SERVICE as LIFECYCLES
from app.domain.lifecycles.compiled import Lifecycles, lifecycles_of
from app.domain.lifecycles.editability import LifecycleStates
from app.domain.lifecycles.events import (
    LifecyclePublished,
    RecordEventEmitted,
    RecordNoticeWanted,
    RecordTransitioned,
    RunWanted,
)
from app.domain.lifecycles.publishing import publish_shipped, refuse_change_of_version
from app.domain.lifecycles.store import load_in_force
from app.domain.notify import handlers as notify
from app.domain.notify import record_rules
from app.domain.notify.endpoints import SERVICE as ENDPOINTS
from app.domain.notify.endpoints import endpoints_for
from app.domain.notify.events import NoticesWanted
from app.domain.notify.mail import transport_for
from app.domain.notify.notices import on_notices_wanted
from app.domain.notify.record_notices import on_record_notice_wanted
from app.domain.notify.rule_book import RULES as NOTIFICATION_RULES
from app.domain.notify.rule_book import NotificationRules, ensure_shipped
from app.domain.notify.schedule_notices import on_scheduled_run_failed
from app.domain.prediction import handlers as prediction
from app.domain.rules.evaluation import RULES, RuleBook, forget_changed_rule
from app.domain.rules.validation import check_by_rules, check_written_rule, load_validators
from app.domain.schedules.events import RunScheduled, ScheduledRunFailed
from app.domain.schedules.horizon import on_schedule_written
from app.domain.sla import clocks, migrated
from app.domain.sla.added_work import on_process_added
from app.domain.sla.compiled import SERVICE as SLA_POLICIES
from app.domain.sla.compiled import SlaPolicies, policies_of
from app.domain.sla.driving import on_changes
from app.domain.sla.events import SlaThresholdsPassed
from app.domain.sla.policies import publish_shipped_policies
from app.domain.sla.recalculation import ACTIONS as RECALCULATIONS
from app.domain.sla.recalculation import on_calendar_published
from app.domain.sla.store import load_in_force as load_policies_in_force
from app.domain.support import issue_holds, issue_rules, issues
from app.domain.support.issue_priorities import on_matrix_written
from app.domain.support.query_events import on_query_transitioned
from app.domain.triggers import handlers as triggers
from app.domain.triggers.index import TOPIC as TRIGGERS
from app.domain.triggers.index import TriggerIndex
from app.domain.workflow import rule_routing, sign_offs, waits
from app.domain.workflow.arranging import arrange_after_change
from app.domain.workflow.automation import on_job_aborted
from app.domain.workflow.bulk import FUNCTION as BULK_TRANSITIONS
from app.domain.workflow.bulk_job import bulk_transitions
from app.domain.workflow.events import (
    AwaitedRunsMissing,
    ProcessAdded,
    ProcessesReleased,
    ProcessStateChanged,
    ReopeningRequested,
    RunCreated,
    RunFinished,
    RunMigrated,
    RunStateChanged,
    SignedDataChanged,
    WorkDoubted,
)
from app.domain.workflow.level_deadlines import on_run_created as on_levels_of_run_created
from app.domain.workflow.migration_plans import FUNCTION as MIGRATE_RUNS
from app.domain.workflow.migration_plans import migrate_runs
from app.domain.workflow.publishing import refuse_change_of_published
from app.domain.workflow.wanted_runs import on_run_wanted
from models.registry import Registry, product_registry

# Clocks of records follow all that happens to them in a transaction, together and in its order.
DRIVES_CLOCKS = Gathered(on_changes)

# Which feature hears what, inside the transaction. A lower feature reaches a higher one only through this table.
HANDLERS: Handlers = {
    RecordCreated: (
        check_written_grant,
        check_written_delegation,
        touch_policy,
        refuse_change_of_published,
        refuse_change_of_version,
        on_schedule_written,
        check_written_rule,
        triggers.on_record_written,
        waits.on_file_written,
        record_rules.on_record_written,
        DRIVES_CLOCKS,
        issues.on_issue_written,
        issue_rules.check_written_rule,
        on_matrix_written,
    ),
    RecordUpdated: (
        check_written_grant,
        check_written_delegation,
        touch_policy,
        end_access_of_inactive_user,
        refuse_change_of_published,
        refuse_change_of_version,
        arrange_after_change,
        on_schedule_written,
        triggers.on_record_written,
        waits.on_file_written,
        record_rules.on_record_written,
        forget_changed_rule,
        DRIVES_CLOCKS,
        issues.on_issue_written,
        issue_rules.check_written_rule,
        on_matrix_written,
    ),
    RecordDeleted: (
        touch_policy,
        end_access_of_deleted_user,
        refuse_change_of_version,
        forget_changed_rule,
        triggers.on_trigger_deleted,
        record_rules.on_record_deleted,
        DRIVES_CLOCKS,
        on_matrix_written,
    ),
    RunWanted: (on_run_wanted,),
    RecordTransitioned: (
        record_rules.on_record_transitioned,
        DRIVES_CLOCKS,
        issues.on_issue_transitioned,
        on_query_transitioned,
    ),
    LifecyclePublished: (issues.on_lifecycle_published,),
    RecordEventEmitted: (waits.on_record_event, record_rules.on_record_event),
    RecordNoticeWanted: (on_record_notice_wanted,),
    RunScheduled: (triggers.on_run_scheduled,),
    ScheduledRunFailed: (on_scheduled_run_failed,),
    RunCreated: (on_levels_of_run_created, clocks.on_run_created, prediction.on_run_changed, triggers.on_run_created),
    RunStateChanged: (
        clocks.on_run_state_changed,
        prediction.on_run_changed,
        triggers.on_run_state_changed,
        DRIVES_CLOCKS,
        issue_holds.on_run_state_changed,
    ),
    RunMigrated: (on_levels_of_run_created, migrated.on_run_migrated, prediction.on_run_changed),
    RunFinished: (waits.on_run_finished, prediction.on_run_finished, triggers.on_run_finished, DRIVES_CLOCKS),
    ProcessAdded: (on_process_added, prediction.on_run_changed, DRIVES_CLOCKS),
    ProcessesReleased: (
        rule_routing.on_processes_released,
        notify.on_processes_released,
        prediction.on_run_changed,
        DRIVES_CLOCKS,
    ),
    ProcessStateChanged: (
        clocks.on_process_state_changed,
        notify.on_process_state_changed,
        prediction.on_run_changed,
        DRIVES_CLOCKS,
        issue_holds.on_process_state_changed,
    ),
    SlaThresholdsPassed: (
        notify.on_thresholds_passed,
        issue_rules.on_thresholds_passed,
        escalations.on_thresholds_passed,
    ),
    CalendarPublished: (on_calendar_published,),
    NoticesWanted: (on_notices_wanted,),
    JobWasAborted: (on_job_aborted,),
    JobFailed: (record_rules.on_job_failed, issue_rules.on_job_failed, escalations.on_job_failed),
    DeliveryFailed: (record_rules.on_delivery_failed, escalations.on_delivery_failed),
    SignedDataChanged: (sign_offs.on_signed_data_changed,),
    AwaitedRunsMissing: (notify.on_awaited_runs_missing,),
    ReopeningRequested: (notify.on_reopening_requested,),
    WorkDoubted: (notify.on_work_doubted,),
}


@dataclass
class Runtime:
    """One process's view of the platform. `registry` and `policy` are replaced whole when they change."""

    settings: Settings
    engine: AsyncEngine
    registry: Registry
    clock: Clock
    policy: AccessPolicy
    services: Mapping[str, Any]

    def __post_init__(self) -> None:
        self.reading_engine = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    def uow(self, actor: Actor, *, now: datetime | None = None) -> UnitOfWork:
        """A unit of work for one request or job. `now` is given by simulations and replays only."""
        return UnitOfWork(self._resources(), self.registry, actor, now=now)

    def reading(self, actor: Actor) -> UnitOfWork:
        """A unit of work that changes nothing but its audit entries: without a BEGIN and a COMMIT around each look.

        One transaction would see no more of one moment: between two statements others may commit either way.
        """
        return UnitOfWork(self._resources(), self.registry, actor, reading=True)

    def _resources(self) -> Resources:
        return Resources(self.engine, self.clock, HANDLERS, self.policy, self.services, self.reading_engine)

    async def reload_policy(self) -> None:
        self.policy = await load_policy(self.engine, self.registry)

    async def reload_lifecycles(self) -> None:
        await load_in_force(self.engine, self.registry, lifecycles_of(self.services))

    async def reload_sla_policies(self) -> None:
        await load_policies_in_force(self.engine, self.registry, policies_of(self.services))

    async def reload_rules(self) -> None:
        """Rules are read anew when they are asked next."""
        self.services[RULES].drop()

    async def reload_triggers(self) -> None:
        await self.services[TRIGGERS].load(self.engine, self.registry.table("event_trigger"))

    async def reload_notification_rules(self) -> None:
        await self.services[NOTIFICATION_RULES].load(self.engine)

    async def reload_clock(self) -> None:
        self.clock.shift = await read_shift(self.engine)

    @property
    def reactions(self) -> Mapping[str, Callable[[], Coroutine[Any, Any, None]]]:
        """What each process reads anew when a topic is touched, whoever touched it."""
        return {
            "policy": self.reload_policy,
            "clock": self.reload_clock,
            "lifecycles": self.reload_lifecycles,
            SLA_POLICIES: self.reload_sla_policies,
            RULES: self.reload_rules,
            TRIGGERS: self.reload_triggers,
            NOTIFICATION_RULES: self.reload_notification_rules,
        }

    async def aclose(self) -> None:
        await self.engine.dispose()


async def build(settings: Settings, *, registry: Registry | None = None, pool_size: int = 20) -> Runtime:
    """Connect and load what every process needs. `settings.database_url` must be set and migrated.

    Raises SettingsError for a database whose clock is shifted, outside demo mode.
    """
    if settings.database_url is None:
        raise ValueError("build() needs settings.database_url; `steps run` fills it in for the embedded server")
    engine = create_engine(settings.database_url, pool_size=pool_size)
    if registry is None:
        site = await read_site_entities(engine)
        registry = registry_with(site) if site else product_registry()
    shift = await read_shift(engine)
    if shift and not settings.demo:
        await engine.dispose()
        raise SettingsError(
            "this database has the shifted clock of a demo, and demo mode is off; name a database of your own in "
            "STEPS_DATABASE_URL, or set STEPS_DEMO=true"
        )
    await publish_shipped(engine, registry)
    await publish_shipped_policies(engine, registry)
    await ensure_shipped(engine)
    runtime = Runtime(
        settings=settings,
        engine=engine,
        registry=registry,
        clock=Clock(shift),
        policy=await load_policy(engine, registry),
        services=_services(settings),
    )
    await runtime.reload_lifecycles()
    await runtime.reload_sla_policies()
    await runtime.reload_triggers()
    await load_validators(engine, runtime.services[RULES])
    await runtime.reload_notification_rules()
    return runtime


def _services(settings: Settings) -> dict[str, Any]:
    """Ports and tables that features find by name in `uow.resources.services`."""
    lifecycles = Lifecycles()
    services: dict[str, Any] = {
        LIFECYCLES: lifecycles,
        RECORD_STATES: LifecycleStates(lifecycles),
        RECORD_CHECKS: check_by_rules,
        SLA_POLICIES: SlaPolicies(),
        RULES: RuleBook(),
        TRIGGERS: TriggerIndex(),
        "actions": {**ACTIONS, BULK_TRANSITIONS: bulk_transitions, MIGRATE_RUNS: migrate_runs, **RECALCULATIONS},
        "process_guards": (breaches_commented,),
        "process_content": (signed_figures,),
        "mail": transport_for(settings),
        ENDPOINTS: endpoints_for(settings),
        NOTIFICATION_RULES: NotificationRules(),
        "file_store": open_file_store(settings),
    }
    if settings.secret_key is not None:
        services["secret_box"] = SecretBox(settings.secret_key.get_secret_value())
    return services
