import asyncio
import time

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from app.core.errors import ValidationFailed
from app.domain.access.passwords import (
    DEMO_LENGTH,
    check_password,
    hash_password,
    password_problems,
    random_password,
    verify_password,
)

GOOD = "copper lantern 27 drifts"


@pytest.mark.parametrize(
    ("password", "word"),
    [
        ("short-27-x", "at least 12"),
        ("x" * 11, "at least 12"),
        ("k7" * 200, "at most 256"),
        ("Password1234!", "attacker"),
        ("qwertyuiop123", "attacker"),
        ("aaaaaaaabbbbb", "attacker"),
        ("123456789012", "attacker"),
        ("Summer-2026-Welcome", "attacker"),
        ("Jonas.Weber@bank.example", "e-mail"),
        ("jonas.weber-river", "e-mail"),
        ("my name: Jonas Weber", "name"),
    ],
)
def test_an_easy_password_is_refused_with_what_to_change(password: str, word: str) -> None:
    problems = password_problems(password, email="jonas.weber@bank.example", name="Jonas Weber")
    assert len(problems) == 1
    assert word in problems[0].message


@pytest.mark.parametrize("password", [GOOD, "correct horse battery", "Überweisung-7-Löwen"])
def test_a_decent_password_is_accepted(password: str) -> None:
    assert password_problems(password, email="jonas.weber@bank.example", name="Jonas Weber") == []


def test_a_random_password_is_decent() -> None:
    check_password(random_password())


def test_the_demo_may_have_eight_characters_and_not_seven() -> None:
    check_password("fx-close", shortest=DEMO_LENGTH)
    with pytest.raises(ValidationFailed):
        check_password("fx-clos", shortest=DEMO_LENGTH)


async def test_the_hash_is_argon2id_with_the_recommended_parameters_and_a_fresh_salt() -> None:
    first, second = await hash_password(GOOD), await hash_password(GOOD)
    assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert first != second


async def test_only_the_right_password_fits() -> None:
    stored = await hash_password(GOOD)
    assert (await verify_password(GOOD, stored)).fits
    assert not (await verify_password(GOOD + " ", stored)).fits
    assert not (await verify_password("", stored)).fits


async def test_the_same_text_fits_however_its_accents_were_composed() -> None:
    stored = await hash_password("L\u00f6wen und Geb\u00fchren")
    assert (await verify_password("Lo\u0308wen und Gebu\u0308hren", stored)).fits


@pytest.mark.parametrize("password", ["\ud800", "\x00", "x" * 100_000])
async def test_no_text_makes_verification_fail(password: str) -> None:
    assert not (await verify_password(password, await hash_password(GOOD))).fits


async def test_a_hash_with_outdated_parameters_is_renewed() -> None:
    old = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8_192, parallelism=1),)).hash(GOOD)
    verdict = await verify_password(GOOD, old)
    assert verdict.fits
    assert verdict.rehashed is not None
    assert verdict.rehashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert (await verify_password(GOOD, verdict.rehashed)).rehashed is None


async def test_without_a_stored_hash_nothing_fits_and_the_same_work_is_done() -> None:
    stored = await hash_password(GOOD)
    await verify_password("warm up", None)

    async def seconds(hashed: str | None) -> float:
        began = time.perf_counter()
        for _ in range(10):
            assert not (await verify_password("wrong", hashed)).fits
        return time.perf_counter() - began

    known, unknown = await seconds(stored), await seconds(None)
    assert 0.3 < unknown / known < 3


async def test_a_damaged_hash_lets_nobody_in() -> None:
    assert not (await verify_password(GOOD, "not a hash")).fits


async def test_the_event_loop_goes_on_while_a_password_is_hashed() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await hash_password(GOOD)
    ticking.cancel()
    assert ticks > 10
