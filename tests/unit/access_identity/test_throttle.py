import pytest

from app.core.errors import RateLimited
from app.domain.access.throttle import MAX_KEYS, Throttle, address_key


class Watch:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_tries_beyond_the_capacity_are_refused_with_the_seconds_to_wait() -> None:
    watch = Watch()
    throttle = Throttle(capacity=3, per_second=0.5, clock=watch)
    for _ in range(3):
        throttle.take("a")
    with pytest.raises(RateLimited) as refused:
        throttle.take("a")
    assert refused.value.context["retry_after"] == 2
    watch.seconds = 2
    throttle.take("a")
    with pytest.raises(RateLimited):
        throttle.take("a")


def test_addresses_do_not_share_their_tries() -> None:
    throttle = Throttle(capacity=1, per_second=0.001, clock=Watch())
    throttle.take("a")
    throttle.take("b")
    with pytest.raises(RateLimited):
        throttle.take("a")


def test_a_rightful_try_is_given_back_and_never_beyond_the_capacity() -> None:
    throttle = Throttle(capacity=2, per_second=0.001, clock=Watch())
    for _ in range(50):
        throttle.take("a")
        throttle.give_back("a")
    throttle.give_back("a")
    throttle.take("a")
    throttle.take("a")
    with pytest.raises(RateLimited):
        throttle.take("a")


def test_memory_stays_bounded_whoever_knocks() -> None:
    throttle = Throttle(capacity=1, per_second=0.001, clock=Watch())
    for number in range(MAX_KEYS + 1_000):
        throttle.take(str(number))
    assert len(throttle._levels) <= MAX_KEYS


@pytest.mark.parametrize(
    ("address", "key"),
    [("10.1.2.3", "10.1.2.3"), ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"), ("unix", "unix"), (None, "")],
)
def test_hosts_of_one_ipv6_network_share_a_key(address: str | None, key: str) -> None:
    assert address_key(address) == key
