import asyncio
from datetime import timedelta

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from app.bootstrap import Runtime
from app.core.actor import Actor, system_actor
from app.core.errors import Forbidden, RateLimited, StepsError, ValidationFailed
from app.domain.access.accounts import lock_user, set_password
from app.domain.access.sign_in import (
    SignInPaused,
    SignInRefused,
    change_own_password,
    sign_in,
    sign_out,
    verify_sign_in,
)
from tests.service.identity.people import (
    AGENT,
    EMAIL,
    IP,
    PASSWORD,
    WRONG,
    actor_of,
    admin,
    columns,
    everything_stored,
    person,
    service_account,
    session_of,
    set_columns,
    signed_in,
    trail,
)


async def wrong(runtime: Runtime, *, email: str = EMAIL, ip: str = IP, password: str = WRONG) -> StepsError:
    with pytest.raises((SignInRefused, SignInPaused)) as refused:
        await sign_in(runtime, email=email, password=password, ip=ip, user_agent=AGENT)
    return refused.value


async def test_a_person_signs_in_with_the_e_mail_address_in_any_case(runtime: Runtime) -> None:
    id_ = await person(runtime)
    signed = await sign_in(runtime, email=" Jonas@Bank.EXAMPLE ", password=PASSWORD, ip=IP, user_agent=AGENT)
    session = await session_of(runtime, signed)
    assert session is not None
    assert (session.actor.id, session.actor.name, session.actor.email) == (id_, "Jonas Weber", EMAIL)
    assert session.csrf_token == signed.csrf_token
    assert (await columns(runtime, "user", id_))["last_sign_in_at"] is not None


async def test_a_sign_in_is_audited_with_its_session_and_address(runtime: Runtime) -> None:
    id_ = await person(runtime)
    signed = await signed_in(runtime)
    (entry,) = await trail(runtime, "user.sign_in")
    assert (entry["outcome"], entry["actor_id"], entry["record_id"]) == ("ok", id_, id_)
    assert (entry["session_id"], entry["ip"]) == (signed.session_id, IP)


async def test_twenty_wrong_passwords_at_once_count_five_and_pause_sign_in(runtime: Runtime) -> None:
    id_ = await person(runtime)
    refusals = await asyncio.gather(*(wrong(runtime) for _ in range(20)))
    assert sum(isinstance(refusal, SignInRefused) for refusal in refusals) == 4
    assert sum(isinstance(refusal, SignInPaused) for refusal in refusals) == 16
    user = await columns(runtime, "user", id_)
    assert user["failed_sign_ins"] == 5
    left = user["locked_until"] - runtime.clock.real()
    assert timedelta(seconds=30) < left <= timedelta(minutes=1)
    outcomes = [entry["outcome"] for entry in await trail(runtime, "user.sign_in")]
    assert (outcomes.count("failed"), outcomes.count("denied"), outcomes.count("ok")) == (5, 15, 0)
    assert len(await trail(runtime, "user.pause_sign_in")) == 1


async def test_the_right_password_does_not_help_while_sign_in_is_paused(runtime: Runtime) -> None:
    id_ = await person(runtime)
    for _ in range(5):
        await wrong(runtime)
    refusal = await wrong(runtime, password=PASSWORD)
    assert isinstance(refusal, SignInPaused)
    assert 0 < refusal.context["retry_after"] <= 60
    await set_columns(runtime, "user", id_, locked_until=runtime.clock.real() - timedelta(seconds=1))
    await signed_in(runtime)


async def test_the_next_failure_after_a_pause_pauses_twice_as_long(runtime: Runtime) -> None:
    id_ = await person(runtime)
    for _ in range(5):
        await wrong(runtime)
    await set_columns(runtime, "user", id_, locked_until=runtime.clock.real() - timedelta(seconds=1))
    refusal = await wrong(runtime)
    assert isinstance(refusal, SignInPaused)
    assert 60 < refusal.context["retry_after"] <= 120


async def test_a_success_forgets_the_failures_before_it(runtime: Runtime) -> None:
    id_ = await person(runtime)
    for _ in range(4):
        await wrong(runtime)
    await signed_in(runtime)
    assert (await columns(runtime, "user", id_))["failed_sign_ins"] == 0
    assert isinstance(await wrong(runtime), SignInRefused)


async def test_failures_leave_the_row_version_alone(runtime: Runtime) -> None:
    id_ = await person(runtime)
    await wrong(runtime)
    assert (await columns(runtime, "user", id_))["row_version"] == 1


async def test_a_name_without_an_account_is_answered_and_paused_like_one_with(runtime: Runtime) -> None:
    await person(runtime)
    known: list[StepsError] = []
    unknown: list[StepsError] = []
    for _ in range(7):
        known.append(await wrong(runtime))
        unknown.append(await wrong(runtime, email="nobody@bank.example", ip="192.0.2.8"))
    assert [type(refusal) for refusal in known] == [type(refusal) for refusal in unknown]
    assert isinstance(unknown[4], SignInPaused)
    assert str(known[0]) == str(unknown[0])
    assert {key for refusal in known[4:] for key in refusal.context} == {
        key for refusal in unknown[4:] for key in refusal.context
    }


async def test_guesses_at_once_under_a_name_without_an_account_count_one_by_one(runtime: Runtime) -> None:
    refusals = await asyncio.gather(*(wrong(runtime, email="nobody@bank.example") for _ in range(12)))
    assert sum(isinstance(refusal, SignInRefused) for refusal in refusals) == 4


async def test_what_was_typed_as_an_unknown_name_is_not_kept(runtime: Runtime) -> None:
    await wrong(runtime, email="MyS3cret-typed-here")
    await wrong(runtime, email="unknown.person@bank.example")
    stored = await everything_stored(runtime)
    assert "MyS3cret".lower() not in stored.lower()
    assert "unknown.person" not in stored
    assert "u***@bank.example" in stored


@pytest.mark.parametrize(
    "email", ["", "\x00@x.yz", "\ud800@bank.example", "a" * 5_000 + "@bank.example", "' OR 1=1 --"]
)
async def test_no_name_ends_in_an_error(runtime: Runtime, email: str) -> None:
    assert isinstance(await wrong(runtime, email=email), SignInRefused)


async def test_service_inactive_and_locked_accounts_are_refused_like_a_wrong_password(runtime: Runtime) -> None:
    id_ = await person(runtime)
    await service_account(runtime)
    other = await person(runtime, email="locked@bank.example")
    await set_columns(runtime, "user", id_, active=False)
    async with runtime.uow(system_actor()) as uow:
        await lock_user(uow, user_id=other, reason="left the desk")
    for email in (EMAIL, "loader@bank.example", "locked@bank.example"):
        assert isinstance(await wrong(runtime, email=email, password=PASSWORD), SignInRefused)


async def test_one_address_is_braked_after_many_wrong_names_and_others_are_not(runtime: Runtime) -> None:
    await person(runtime)
    for number in range(30):
        assert type(await wrong(runtime, email=f"n{number}@bank.example")) is SignInRefused
    more = (verify_sign_in(runtime, email=f"m{number}@bank.example", password=WRONG, ip=IP) for number in range(30))
    answers = await asyncio.gather(*more, return_exceptions=True)
    braked = [answer for answer in answers if type(answer) is RateLimited]
    assert len(braked) > 15
    assert all(answer.context["retry_after"] >= 1 for answer in braked)
    await sign_in(runtime, email=EMAIL, password=PASSWORD, ip="192.0.2.99", user_agent=AGENT)


async def test_a_password_hash_with_old_parameters_is_renewed_at_sign_in(runtime: Runtime) -> None:
    id_ = await person(runtime)
    old = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8_192, parallelism=1),)).hash(PASSWORD)
    await set_columns(runtime, "user", id_, password_hash=old)
    await signed_in(runtime)
    assert "m=19456,t=2,p=1" in (await columns(runtime, "user", id_))["password_hash"]
    await signed_in(runtime)


async def test_signing_out_ends_this_session_only_and_twice_is_harmless(runtime: Runtime) -> None:
    await person(runtime)
    first, second = await signed_in(runtime), await signed_in(runtime)
    await sign_out(runtime, first.session_token)
    await sign_out(runtime, first.session_token)
    assert await session_of(runtime, first) is None
    assert await session_of(runtime, second) is not None
    assert len(await trail(runtime, "user.sign_out")) == 1


async def test_changing_the_password_ends_the_other_sessions(runtime: Runtime) -> None:
    await person(runtime, must_change_password=True)
    here, elsewhere = await signed_in(runtime), await signed_in(runtime)
    assert here.must_change_password
    await change_own_password(runtime, await actor_of(runtime, here), current=PASSWORD, new="brass kettle 41 hums")
    session = await session_of(runtime, here)
    assert session is not None
    assert not session.must_change_password
    assert await session_of(runtime, elsewhere) is None
    assert isinstance(await wrong(runtime, password=PASSWORD), SignInRefused)
    assert len(await trail(runtime, "user.change_password")) == 1


async def test_guessing_the_current_password_in_a_borrowed_session_is_paused_too(runtime: Runtime) -> None:
    await person(runtime)
    actor = await actor_of(runtime, await signed_in(runtime))
    for _ in range(4):
        with pytest.raises(ValidationFailed) as refused:
            await change_own_password(runtime, actor, current=WRONG, new="brass kettle 41 hums")
        assert refused.value.problems[0].path == "current_password"
    with pytest.raises(SignInPaused):
        await change_own_password(runtime, actor, current=WRONG, new="brass kettle 41 hums")


async def test_a_new_password_must_be_decent_and_new(runtime: Runtime) -> None:
    await person(runtime)
    actor = await actor_of(runtime, await signed_in(runtime))
    for new in ("short", "Password1234!", PASSWORD):
        with pytest.raises(ValidationFailed) as refused:
            await change_own_password(runtime, actor, current=PASSWORD, new=new)
        assert refused.value.problems[0].path == "new_password"


async def test_an_administrator_sets_a_password_that_must_be_changed(runtime: Runtime) -> None:
    id_ = await person(runtime)
    before = await signed_in(runtime)
    for _ in range(5):
        await wrong(runtime)
    async with runtime.uow(admin()) as uow:
        await set_password(uow, user_id=id_, password="brass kettle 41 hums")
    assert await session_of(runtime, before) is None
    signed = await sign_in(runtime, email=EMAIL, password="brass kettle 41 hums", ip=IP, user_agent=AGENT)
    assert signed.must_change_password


async def test_nobody_without_the_permission_sets_a_password(runtime: Runtime) -> None:
    id_ = await person(runtime)
    other = await person(runtime, email="other@bank.example", name="Other Person")
    signed = await signed_in(runtime, email="other@bank.example")
    actor: Actor = await actor_of(runtime, signed)
    assert actor.id == other
    with pytest.raises(Forbidden):
        async with runtime.uow(actor) as uow:
            await set_password(uow, user_id=id_, password="brass kettle 41 hums")
    await signed_in(runtime)
