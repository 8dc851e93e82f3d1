"""Past runs as they are read to be replayed agree with the profiles that SQL writes of the same runs."""

import random
from datetime import timedelta

import pytest

from app.core.errors import NotFound
from app.domain.prediction.backtest import habits_of
from app.domain.prediction.past import past_runs
from app.domain.prediction.picture import Measure
from tests.factories import SYSTEM
from tests.service.prediction.past import add_past_run, profiles, working_days
from tests.service.prediction.test_profiles import YESTERDAY, at, refresh
from tests.service.workflow.bank import Bank, manual


async def test_habits_of_past_runs_equal_the_stored_profiles(bank: Bank) -> None:
    await bank.publish([manual("a"), manual("b")], [("a", "b")])
    dice = random.Random(11)
    for day in working_days(YESTERDAY, 12):
        a, b = timedelta(seconds=dice.randint(60, 3_000)), timedelta(seconds=dice.randint(60, 3_000))
        await add_past_run(bank, day, {"a": (at(day, 9), a), "b": (at(day, 10), b)})
    await refresh(bank)
    async with bank.runtime.uow(SYSTEM) as uow:
        runs = await past_runs(uow, workflow="W")
        assert [run.business_date for run in runs] == working_days(YESTERDAY, 12)
        with pytest.raises(NotFound):
            await past_runs(uow, workflow="NONE")
    habits = habits_of(runs)
    for code in "ab":
        for measure in Measure:
            [row] = await profiles(
                bank, process_code=code, measure=measure.value, reach="node", weekday=None, basis="elapsed"
            )
            curve = habits[code, bank.nodes["FX"]].curves[measure]
            assert curve.observations == row.observations == 12
            # Each quantile stands at its plotting position of twelve observations.
            assert curve.seconds[3] == pytest.approx(row.p50.total_seconds(), abs=0.01)
            assert curve.seconds[5] == pytest.approx(row.p90.total_seconds(), abs=0.01)
