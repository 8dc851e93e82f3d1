import pytest

from app.domain.access.same_origin import ForeignRequest, require_csrf_token, require_same_origin

BASE = "https://steps.bank.example"


def check(origin: str | None, referer: str | None = None, own_url: str = "http://127.0.0.1:8000/") -> None:
    require_same_origin(origin=origin, referer=referer, base_url=BASE, own_url=own_url)


@pytest.mark.parametrize(
    ("origin", "referer"),
    [
        (BASE, None),
        ("https://STEPS.bank.example:443", None),
        ("http://127.0.0.1:8000", None),
        (None, f"{BASE}/runs/1?x=2"),
    ],
)
def test_our_own_pages_pass(origin: str | None, referer: str | None) -> None:
    check(origin, referer)


@pytest.mark.parametrize(
    ("origin", "referer"),
    [
        (None, None),
        ("null", f"{BASE}/"),
        ("", f"{BASE}/"),
        ("http://steps.bank.example", None),
        ("https://steps.bank.example:8443", None),
        ("https://steps.bank.example.evil.example", None),
        ("https://evil.example/https://steps.bank.example", None),
        ("https://steps.bank.example@evil.example", None),
        ("http://127.0.0.1:8001", None),
        ("https://evil.example", f"{BASE}/"),
        (None, "https://evil.example/?https://steps.bank.example/"),
        ("https://[bad", None),
        ("https://steps.bank.example:x", None),
    ],
)
def test_everything_else_is_refused(origin: str | None, referer: str | None) -> None:
    with pytest.raises(ForeignRequest):
        check(origin, referer)


def test_only_the_sessions_own_token_passes() -> None:
    require_csrf_token(given="token", expected="token")
    for given in (None, "", "Token", "token2", "t\u00f6ken", "\ud800"):
        with pytest.raises(ForeignRequest):
            require_csrf_token(given=given, expected="token")
