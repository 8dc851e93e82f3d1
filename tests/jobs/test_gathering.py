"""Gathering: what is asked for at the same time is done at once, and everybody gets their own answer."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from app.domain.jobs.backoff import LONGEST, backoff
from jobs.gathering import Gathering


async def test_what_is_asked_for_together_is_done_together_and_in_order() -> None:
    batches: list[list[int]] = []

    async def double(items: Sequence[int]) -> Sequence[int]:
        batches.append(list(items))
        await asyncio.sleep(0.01)
        return [item * 2 for item in items]

    gathering = Gathering(double)
    assert await asyncio.gather(*(gathering(number) for number in range(10))) == [n * 2 for n in range(10)]
    assert batches == [list(range(10))]
    assert await gathering(21) == 42


async def test_an_error_reaches_everybody_of_its_batch_and_nobody_else() -> None:
    async def refuse_odd(items: Sequence[int]) -> Sequence[int]:
        await asyncio.sleep(0)
        if any(item % 2 for item in items):
            raise ValueError("odd")
        return items

    gathering = Gathering(refuse_odd)
    answers = await asyncio.gather(gathering(1), gathering(2), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ValueError, ValueError]
    assert await gathering(2) == 2


async def test_whoever_is_cancelled_leaves_the_others_their_answers() -> None:
    async def slow(items: Sequence[int]) -> Sequence[int]:
        await asyncio.sleep(0.05)
        return items

    gathering = Gathering(slow)
    first, second = asyncio.create_task(gathering(1)), asyncio.create_task(gathering(2))
    await asyncio.sleep(0.01)
    first.cancel()
    assert await second == 2
    with pytest.raises(asyncio.CancelledError):
        await first


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 10), (1, 10), (2, 20), (3, 40), (9, 2_560), (10, 3_600), (500, 3_600)]
)
def test_the_pause_doubles_up_to_an_hour(failures: int, seconds: int) -> None:
    assert backoff(base_seconds=10, failures=failures) == timedelta(seconds=seconds) <= LONGEST
