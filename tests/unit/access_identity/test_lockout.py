from datetime import UTC, datetime, timedelta

import pytest

from app.domain.access.lockout import LOCKED_FOR_GOOD, FailureRecord, after_failure

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def failed(times: int, *, now: datetime = NOW) -> FailureRecord:
    record = FailureRecord()
    for _ in range(times):
        record = after_failure(record, now=now)
    return record


def test_four_failures_do_not_pause_sign_in() -> None:
    assert failed(4) == FailureRecord(4, None)


@pytest.mark.parametrize(
    ("failures", "minutes"), [(5, 1), (6, 2), (7, 4), (8, 8), (9, 16), (10, 32), (11, 60), (12, 60), (400, 60)]
)
def test_each_failure_from_the_fifth_doubles_the_pause_up_to_an_hour(failures: int, minutes: int) -> None:
    assert failed(failures).locked_until == NOW + timedelta(minutes=minutes)


def test_a_pause_ends_at_its_instant() -> None:
    record = failed(5)
    assert record.is_paused(now=NOW + timedelta(seconds=59))
    assert not record.is_paused(now=NOW + timedelta(seconds=60))


def test_failures_are_forgiven_a_day_after_the_last_pause_ended() -> None:
    record = failed(5)
    ended = NOW + timedelta(minutes=1)
    assert after_failure(record, now=ended + timedelta(hours=23)).failures == 6
    assert after_failure(record, now=ended + timedelta(hours=24)) == FailureRecord(1, None)


def test_an_administrators_lock_outlasts_every_pause() -> None:
    assert FailureRecord(0, LOCKED_FOR_GOOD).is_paused(now=NOW + timedelta(days=100_000))
