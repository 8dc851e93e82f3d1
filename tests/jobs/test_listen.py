"""The listener: hears what is sent, and comes back after its connection was cut: then all may have changed."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from app.bootstrap import Runtime
from app.core.db import asyncpg_dsn
from app.core.listen import EVERYTHING, Listener, on_topics
from app.core.uow import LIVE_CHANNEL
from tests.factories import SYSTEM


@pytest.fixture
async def listener(runtime: Runtime) -> AsyncIterator[Listener]:
    made = Listener(asyncpg_dsn(runtime.engine))
    await made.start()
    yield made
    await made.stop()


async def touch(runtime: Runtime, *topics: str) -> None:
    async with runtime.uow(SYSTEM) as uow:
        uow.touch(*topics)


async def test_what_a_transaction_touches_is_heard_after_its_commit(runtime: Runtime, listener: Listener) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    listener.subscribe(LIVE_CHANNEL, heard.put_nowait)
    await asyncio.wait_for(listener.ready(), 10)
    await touch(runtime, "run:1", "entity:trade")
    assert await asyncio.wait_for(heard.get(), 5) == "run:1,entity:trade"


async def test_an_ended_subscription_hears_nothing_more(runtime: Runtime, listener: Listener) -> None:
    first: asyncio.Queue[str] = asyncio.Queue()
    second: asyncio.Queue[str] = asyncio.Queue()
    end = listener.subscribe(LIVE_CHANNEL, first.put_nowait)
    listener.subscribe(LIVE_CHANNEL, second.put_nowait)
    await asyncio.wait_for(listener.ready(), 10)
    end()
    end()
    await touch(runtime, "run:1")
    assert await asyncio.wait_for(second.get(), 5) == "run:1"
    assert first.empty()


async def test_a_cut_connection_comes_back_and_everything_may_have_changed(
    runtime: Runtime, listener: Listener
) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    listener.subscribe(LIVE_CHANNEL, heard.put_nowait)
    await asyncio.wait_for(listener.ready(), 10)
    async with runtime.uow(SYSTEM) as uow:
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ILIKE 'LISTEN%'"
        await uow.execute(text(cut))
    assert await asyncio.wait_for(heard.get(), 10) == EVERYTHING
    await touch(runtime, "run:2")
    assert await asyncio.wait_for(heard.get(), 5) == "run:2"


async def test_a_failing_subscriber_does_not_silence_the_others(runtime: Runtime, listener: Listener) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    def broken(_payload: str) -> None:
        raise RuntimeError("broken")

    async def broken_later(_payload: str) -> None:
        raise RuntimeError("broken")

    for callback in (broken, broken_later, heard.put_nowait):
        listener.subscribe(LIVE_CHANNEL, callback)
    await asyncio.wait_for(listener.ready(), 10)
    for number in (1, 2):
        await touch(runtime, f"run:{number}")
        assert await asyncio.wait_for(heard.get(), 5) == f"run:{number}"


async def test_reactions_follow_their_topics() -> None:
    reloaded: list[str] = []

    async def policy() -> None:
        reloaded.append("policy")

    async def clock() -> None:
        reloaded.append("clock")

    react = on_topics({"policy": policy, "clock": clock})
    for payload in ("run:1,policy", "user:7", "*", "clock"):
        result = react(payload)
        assert result is not None
        await result
    assert reloaded == ["policy", "policy", "clock", "clock"]
