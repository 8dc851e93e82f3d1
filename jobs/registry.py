"""THE tables of the worker: which handler does which job, and what is done again and again."""

from collections.abc import Mapping
from types import MappingProxyType

from app.domain.jobs.attempts import RUN_JOB
from app.domain.notify.giving import SEND_MAIL
from app.domain.prediction.handlers import REFRESH_PROFILES, REFRESH_RUN
from app.domain.sla.publishing import BACKFILL
from app.domain.support.issue_rules import RAISE as RAISE_ISSUE
from app.domain.triggers.firing import FIRE_TRIGGER
from app.domain.workflow.doubts import PASS_ON_ACROSS
from app.domain.workflow.reopening import DOUBT_ACROSS
from app.domain.workflow.waits import ARRIVE
from app.domain.workflow.writing import SETTLE_ACROSS
from jobs import (
    automation,
    dependencies,
    escalation,
    hierarchies,
    issues,
    notify,
    prediction,
    queries,
    schedules,
    sla,
    triggers,
)
from jobs.perform import Handler
from jobs.schedule import Periodic

# Each handler is idempotent: a delivery may come twice.
JOBS: Mapping[str, Handler] = MappingProxyType(
    {
        RUN_JOB: automation.run_job,
        SETTLE_ACROSS: dependencies.settle_across,
        DOUBT_ACROSS: dependencies.doubt_across,
        PASS_ON_ACROSS: dependencies.pass_on_across,
        SEND_MAIL: notify.send_mail,
        FIRE_TRIGGER: triggers.fire_trigger,
        ARRIVE: triggers.arrive,
        BACKFILL: sla.backfill,
        RAISE_ISSUE: issues.raise_issue,
        REFRESH_RUN: prediction.refresh_forecast,
        REFRESH_PROFILES: prediction.refresh_profiles,
    }
)

# Each worker does all of these; each is safe for any number of workers at once and costs only what is due.
SCHEDULE: tuple[Periodic, ...] = (
    Periodic(
        "sweep the SLA clocks",
        seconds=2,
        work=sla.sweep_clocks,
        about="Records every deadline and warning that has come and has it announced.",
        essential=True,
    ),
    Periodic(
        "climb escalation ladders",
        seconds=10,
        work=escalation.climb_ladders,
        about="Tells the next step of each escalation that is due, and ends those whose matter is over.",
        essential=True,
    ),
    Periodic(
        "reap lost job runs",
        seconds=5,
        work=automation.reap_lost,
        about="Takes up the jobs whose worker was killed or cut off.",
        essential=True,
    ),
    Periodic(
        "release planned processes",
        seconds=5,
        work=automation.release_planned,
        about="Releases the processes whose earliest start has come.",
    ),
    Periodic(
        "release what has waited out a lag",
        seconds=5,
        work=dependencies.release_lagged,
        about="Lets dependencies pass whose lag is over.",
    ),
    Periodic(
        "tell of runs that are missing",
        seconds=30,
        work=dependencies.tell_of_missing_runs,
        about="Tells who waits for a run of another workflow that should exist by now.",
    ),
    Periodic(
        "create the runs of schedules",
        seconds=15,
        work=schedules.create_due_runs,
        about="Creates the runs that schedules have due, or records why not.",
    ),
    Periodic(
        "look for files in the inbox",
        seconds=10,
        work=triggers.look_for_files,
        about="Sets off triggers and ends waits for files that have arrived.",
    ),
    Periodic(
        "end waits that are over",
        seconds=5,
        work=triggers.end_due_waits,
        about="Ends the waits of processes whose time has come.",
    ),
    Periodic(
        "tell of queries that are due",
        seconds=20,
        work=queries.tell_due_queries,
        about="Tells whoever is asked that a query is due soon, or late.",
    ),
    Periodic(
        "check what was signed off",
        seconds=30,
        work=triggers.check_signatures,
        about="Puts sign-offs in doubt whose data has changed since.",
    ),
    Periodic(
        "bring hierarchy changes into force",
        seconds=60,
        work=hierarchies.apply_due_changes,
        about="Applies changes of nodes that were entered for a later date.",
    ),
    Periodic(
        "forecast the runs under way",
        seconds=30,
        work=prediction.refresh_running,
        about="Renews the forecasts of runs as time passes.",
    ),
    Periodic(
        "renew duration profiles",
        seconds=900,
        work=prediction.refresh_history,
        about="Lets finished runs count as history, and forgets old forecasts.",
    ),
    Periodic(
        "deliver stranded job runs",
        seconds=300,
        work=automation.deliver_stranded,
        about="Delivers the jobs again that nothing else would deliver.",
    ),
    Periodic(
        "send messages that have waited",
        seconds=20,
        work=notify.release_waiting,
        about="Sends digests and what waited for the end of quiet hours, and withdraws what is over.",
    ),
    Periodic(
        "deliver stranded mails",
        seconds=300,
        work=notify.deliver_stranded_mails,
        about="Sends the mails that nothing else would send any more.",
    ),
    Periodic(
        "clear what is old",
        seconds=3600,
        work=automation.clear_old,
        about="Retention: deletes leftovers of finished work that are older than they are kept. Never audit entries.",
    ),
)
