"""Run the sample bank's past days through the real engine, under a simulated clock.

Nothing is inserted as an end state: each run is created, each job executed, each step taken and each deadline swept by
the same functions that a live day uses; only `now` is given. What people do and how long they take is decided by a
random generator seeded with the date, so that the history is the same every time.
"""

import heapq
import random
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from uuid import UUID

from sqlalchemy import func, select, text, update

from app.bootstrap import Runtime
from app.core.actor import Actor, system_actor
from app.core.errors import TransitionRefused
from app.core.progress import Progress
from app.demo.package import DemoPackage
from app.demo.people import Colleagues, commentary, explain_file
from app.domain.documents.files import attach_file
from app.domain.finance.breaches import breaches_of, comment_breach
from app.domain.jobs.execute import execute_job_run
from app.domain.notify.inbox import mark_all_read
from app.domain.sla.sweep import sweep
from app.domain.workflow import commands
from app.domain.workflow.automation import release_planned
from app.domain.workflow.preparation import answer_item
from app.domain.workflow.runs import create_run
from jobs.automation import HOOKS
from models.system.tables import outbox

REJECTIONS = (
    "The explain does not tie to the actual PnL of the largest book; attach the corrected file.",
    "Commentary names the currency and not the cause; say which positions moved and why.",
    "Late trades are missing from the explain; add them and submit again.",
)
SWEEP_DELAY = timedelta(seconds=2)


@dataclass(order=True)
class Step:
    """Something that will be done at a moment; `kind` is job, person or release."""

    at: datetime
    order: int
    process_run_id: UUID = field(compare=False)
    state: str = field(compare=False)


@dataclass(frozen=True)
class Mood:
    """How a day goes: which process is slow and by how much, and whether somebody sends work back."""

    slow: str | None
    extra: timedelta
    reject: str | None

    @classmethod
    def of(cls, dice: random.Random) -> "Mood":
        slow, extra, reject = None, timedelta(0), None
        if dice.random() < 0.22:
            slow = dice.choice(
                ["load_rates", "reconcile_positions", "comment_g10", "comment_em", "approve_g10", "sign_off_fx"]
            )
            extra = timedelta(minutes=dice.choice([20, 25, 35, 45, 60, 80, 110, 140]))
        if dice.random() < 0.2:
            reject = dice.choice(["approve_g10", "approve_em"])
        return cls(slow, extra, reject)


async def run_history(runtime: Runtime, package: DemoPackage, progress: Progress) -> None:
    """The business days before the last one, oldest first."""
    days = [package.date_of(offset) for offset in range(-package.history_days, 0)]
    colleagues = await Colleagues.load(runtime, package)
    for number, day in enumerate(days):
        progress("History through the engine", number, len(days))
        await _Day(runtime, package, colleagues, day).run(until=package.instant(day, time(23)))
        await _settle(runtime, colleagues, package.instant(day, time(23)))
    progress("History through the engine", len(days), len(days))


async def run_today(runtime: Runtime, package: DemoPackage, *, until: time) -> None:
    """The last day up to the moment at which people enter: what happens by itself has happened."""
    colleagues = await Colleagues.load(runtime, package)
    day = _Day(runtime, package, colleagues, package.today, people=False)
    await day.run(until=package.instant(package.today, until))


class _Day:
    """One business date, as a queue of moments at which something is done."""

    def __init__(
        self, runtime: Runtime, package: DemoPackage, colleagues: Colleagues, day: date, *, people: bool = True
    ) -> None:
        self.runtime, self.package, self.colleagues, self.day, self.people = runtime, package, colleagues, day, people
        self.dice = random.Random(day.isoformat())  # noqa: S311  (a sample, not a secret)
        self.mood = Mood.of(self.dice)
        self.steps: list[Step] = []
        self.planned: set[tuple[UUID, str, int]] = set()
        self.count = 0

    async def run(self, *, until: datetime) -> None:
        start = self.package.instant(self.day, self.package.start_time)
        async with self.runtime.uow(system_actor("Schedule"), now=start) as uow:
            self.run_id = await create_run(
                uow, workflow=self.package.settings["run"]["workflow"], business_date=self.day
            )
        await self._plan(start)
        while self.steps and self.steps[0].at <= until:
            step = heapq.heappop(self.steps)
            await self._sweep_to(step.at)
            await self._perform(step)
            await self._plan(step.at)
        await self._sweep_to(min(until, self.package.instant(self.day, time(20))))

    async def _sweep_to(self, moment: datetime) -> None:
        """Sweep soon after each threshold has passed, as the worker does, and not while nothing is due."""
        while (due := await self._next_due()) is not None and due <= moment:
            await sweep(self.runtime, now=min(due + SWEEP_DELAY, moment))

    async def _next_due(self) -> datetime | None:
        async with self.runtime.uow(system_actor()) as uow:
            clocks = uow.table("sla_clock")
            due: datetime | None = await uow.scalar(select(func.min(clocks.c.next_fire_at)))
            return due

    async def _plan(self, now: datetime) -> None:
        """Decide when each open process goes on; each state of each round is decided once."""
        async with self.runtime.uow(system_actor()) as uow:
            p = uow.table("process_run")
            rows = await uow.execute(
                select(p.c.id, p.c.code, p.c.kind, p.c.state, p.c.round, p.c.earliest_start)
                .where(p.c.run_id == self.run_id, p.c.state.in_(["planned", "ready", "in_progress", "in_review"]))
                .order_by(p.c.rank)
            )
            found = rows.all()
        for row in found:
            key = (row.id, row.state, row.round)
            if key in self.planned or (row.kind != "automatic" and not self.people):
                continue
            self.planned.add(key)
            at = max(now, row.earliest_start or now) + self._duration(row.code, row.kind, row.state, row.round)
            self.count += 1
            heapq.heappush(self.steps, Step(at, self.count, row.id, row.state))

    def _duration(self, code: str, kind: str, state: str, round_: int) -> timedelta:
        if kind == "automatic":
            usual = timedelta(seconds=self.dice.randint(20, 75))
            late = self.mood.extra if self.mood.slow == code and state == "ready" else timedelta(0)
            return timedelta(0) if state == "planned" else usual + late
        minutes = {"ready": (1, 4), "in_progress": (4, 11), "in_review": (3, 10)}[state]
        usual = timedelta(minutes=self.dice.randint(*minutes), seconds=self.dice.randint(0, 59))
        slow = self.mood.slow == code and state != "ready" and round_ == 1
        return usual + (self.mood.extra if slow else timedelta(0))

    async def _perform(self, step: Step) -> None:
        async with self.runtime.uow(system_actor()) as uow:
            p = uow.table("process_run")
            row = (await uow.execute(select(p).where(p.c.id == step.process_run_id))).one()
        if row.state != step.state:
            return
        if row.state == "planned":
            async with self.runtime.uow(system_actor(), now=step.at) as uow:
                await release_planned(uow)
        elif row.kind == "automatic":
            await self._execute(row.id, step.at)
        else:
            await self._by_hand(row, step.at)

    async def _execute(self, process_run_id: UUID, now: datetime) -> None:
        async with self.runtime.uow(system_actor()) as uow:
            jobs = uow.table("job_run")
            queued = await uow.scalar(
                select(jobs.c.id).where(
                    jobs.c.process_run_id == process_run_id, jobs.c.state.in_(["queued", "retrying"])
                )
            )
        if queued is not None:
            took = timedelta(seconds=self.dice.randint(2, 25))
            await execute_job_run(self.runtime, queued, worker="history", now=now, finished=now + took, hooks=HOOKS)

    async def _by_hand(self, row: object, now: datetime) -> None:
        id_, code, version = row.id, row.code, row.row_version  # type: ignore[attr-defined]
        state, round_ = row.state, row.round  # type: ignore[attr-defined]
        person = self.colleagues.of(self.owner(row), self.dice)
        async with self.runtime.uow(person, now=now) as uow:
            if state == "ready":
                await commands.start(uow, process_run_id=id_, expected_version=version)
                return
            if state == "in_review":
                if self.mood.reject == code and round_ == 1:
                    reason = self.dice.choice(REJECTIONS)
                    await commands.reject(uow, process_run_id=id_, expected_version=version, reason=reason)
                else:
                    await commands.approve(uow, process_run_id=id_, expected_version=version)
                return
        await self._prepare(row, person, now)

    def owner(self, row: object) -> str:
        """The role that has the next step of this process."""
        state, code = row.state, row.code  # type: ignore[attr-defined]
        if state != "in_review":
            return str(row.owner_role)  # type: ignore[attr-defined]
        return "desk_head" if code.startswith("sign_off") else "controller"

    async def _prepare(self, row: object, person: Actor, now: datetime) -> None:
        """What a preparer does before handing in: tick, comment, attach."""
        id_ = row.id  # type: ignore[attr-defined]
        async with self.runtime.uow(person, now=now) as uow:
            if row.kind == "checklist":  # type: ignore[attr-defined]
                items = uow.table("process_checklist_item")
                wanted = select(items.c.code).where(items.c.parent_id == row.process_id)  # type: ignore[attr-defined]
                for item in (await uow.execute(wanted)).scalars().all():
                    await answer_item(uow, process_run_id=id_, item=item, done=True)
            for breach in await breaches_of(uow, self.day, row.node_id):  # type: ignore[attr-defined]
                if breach["state"] == "open" and row.code.startswith("comment"):  # type: ignore[attr-defined]
                    cause, words = commentary(self.dice, breach)
                    await comment_breach(
                        uow, breach["id"], root_cause=cause, commentary=words, expected_version=breach["row_version"]
                    )
        if row.code.startswith("comment"):  # type: ignore[attr-defined]
            async with self.runtime.uow(person, now=now) as uow:
                name, content = await explain_file(uow, self.day, row.node_id)  # type: ignore[attr-defined]
                await attach_file(uow, record=("process_run", id_), purpose="pnl_explain", name=name, content=content)
        async with self.runtime.uow(person, now=now) as uow:
            p = uow.table("process_run")
            version = await uow.scalar(select(p.c.row_version).where(p.c.id == id_))
            comment = "Explained by market move and the day's trades."
            try:
                await commands.submit(uow, process_run_id=id_, expected_version=version, comment=comment)
            except TransitionRefused as refusal:
                raise RuntimeError(f"{self.day}: {row.code}: {refusal.detail} ({refusal.guard})") from refusal  # type: ignore[attr-defined]


async def _settle(runtime: Runtime, colleagues: Colleagues, evening: datetime) -> None:
    """In the evening people have read their messages, and what the outbox holds of the day has been carried out."""
    for actor in colleagues.everybody:
        async with runtime.uow(actor, now=evening) as uow:
            await mark_all_read(uow)
    async with runtime.uow(system_actor(), now=evening) as uow:
        finished = text(
            "SELECT o.id FROM outbox o JOIN job_run j ON j.id = CAST(o.payload ->> 'job_run_id' AS uuid) "
            "WHERE o.job = 'run_job' AND o.done_at IS NULL AND j.state = 'succeeded'"
        )
        ids = (await uow.execute(finished)).scalars().all()
        await uow.execute(update(outbox).where(outbox.c.id.in_(ids)).values(done_at=evening))
