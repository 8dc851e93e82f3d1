"""Files in watched folders."""

import asyncio
import os
import time
from pathlib import Path

from tests.service.triggers.desk import Desk

ARRIVAL = {
    "kind": "file", "source": "folder", "folder": "rates/ecb", "file_name": "rates_{business_date}*.csv",
    "business_date_rule": "payload",
}  # fmt: skip


def put(desk: Desk, name: str, content: str = "a", *, age: float = 60, folder: str = "rates/ecb") -> Path:
    path = desk.runtime.settings.data_dir / "inbox" / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (time.time() - age, time.time() - age))
    return path


async def test_a_file_that_has_arrived_starts_the_run_of_the_date_in_its_name_once(desk: Desk) -> None:
    await desk.trigger(**ARRIVAL, condition={"size": {"gt": 0}})
    assert await desk.look() == 0
    put(desk, "rates_2026-10-30.csv")
    put(desk, "rates_20261029_final.csv")
    put(desk, "rates_20261028.csv", "")
    assert await desk.look() == 3
    assert await desk.look() == 0
    await desk.work()
    assert await desk.references() == ["W-20261029", "W-20261030"]
    refused = [row for row in await desk.firings() if row["outcome"] == "refused"]
    assert [row["reason"] for row in refused] == ["The condition does not hold."]


async def test_a_file_that_is_still_written_or_of_another_name_or_place_is_left_alone(desk: Desk) -> None:
    await desk.trigger(**ARRIVAL)
    put(desk, "rates_20261030.csv", age=0)
    put(desk, "rates_20261030.csv.part")
    put(desk, ".rates_20261030.csv")
    put(desk, "positions.csv")
    put(desk, "rates_20261030.csv", folder="other")
    outside = put(desk, "secret_20261030.csv", folder="../elsewhere")
    (desk.runtime.settings.data_dir / "inbox/rates/ecb/rates_20261031.csv").symlink_to(outside)
    assert await desk.look() == 0
    assert await desk.firings() == []


async def test_a_file_that_is_delivered_anew_under_its_name_counts_again(desk: Desk) -> None:
    await desk.trigger(**{**ARRIVAL, "file_name": "ready.flag", "business_date_rule": "today"})
    put(desk, "ready.flag", age=100)
    assert await desk.look() == 1
    put(desk, "ready.flag", age=50)
    assert await desk.look() == 1
    assert len({row["delivery"] for row in await desk.firings()}) == 2


async def test_several_workers_that_look_at_once_see_a_file_once(desk: Desk) -> None:
    await desk.trigger(**ARRIVAL)
    for day in range(10, 20):
        put(desk, f"rates_202610{day}.csv")
    await asyncio.gather(*(desk.look() for _ in range(4)))
    assert len(await desk.firings()) == 10
    assert await desk.count("SELECT count(*) FROM outbox WHERE job = 'fire_trigger'") == 10
