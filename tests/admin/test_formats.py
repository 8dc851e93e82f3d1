"""How values are written and read: numbers of a locale, times of a zone, what a control holds."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_views.cells import markdown
from admin_views.formats import duration, formats_of
from admin_views.list_state import ListState, next_page, previous_page, read_state, sorted_by
from admin_views.shell import initials
from admin_views.wording import sentence, small

LOCALES = ("en-GB", "de-DE", "de-CH", "fr-FR", "es-MX", "xx-YY", "")
FORMATS = formats_of("Europe/Berlin", "en-GB")


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**20), max_value=10**20),
    st.sampled_from(LOCALES),
)
def test_a_number_that_is_shown_reads_back_exactly(value: Decimal, locale: str) -> None:
    formats = formats_of("UTC", locale)
    assert Decimal(formats.read_number(formats.number(value))) == value


@pytest.mark.parametrize(
    ("value", "places", "shown"),
    [
        ("1234567.5", 2, "1,234,567.50"),
        ("-0.004", 2, "0.00"),
        ("-0.006", 2, "\u22120.01"),
        ("0.125", 2, "0.12"),
        ("1000000", None, "1,000,000"),
        ("-12.50", None, "\u221212.5"),
    ],
)
def test_numbers_have_separators_a_true_minus_and_no_negative_nothing(
    value: str, places: int | None, shown: str
) -> None:
    assert FORMATS.number(Decimal(value), places=places) == shown


@pytest.mark.parametrize("text", ["", "abc", "1.2.3", "--1", "1e5x"])
def test_text_that_is_no_number_is_left_for_the_check_to_refuse(text: str) -> None:
    read = FORMATS.read_number(text)
    with pytest.raises(ArithmeticError):
        Decimal(read)


def test_an_instant_is_shown_with_the_name_of_its_zone_at_that_time() -> None:
    winter, summer = datetime(2026, 1, 5, 8, tzinfo=UTC), datetime(2026, 7, 5, 8, tzinfo=UTC)
    assert FORMATS.instant(winter) == "5 Jan 2026 09:00 CET"
    assert FORMATS.instant(summer) == "5 Jul 2026 10:00 CEST"
    assert formats_of("Nowhere/Land", "en-GB").instant(winter) == "5 Jan 2026 08:00 UTC"
    assert formats_of("Asia/Dubai", "en-GB").instant(winter) == "5 Jan 2026 12:00 UTC+04"
    assert FORMATS.moment(winter, winter + timedelta(hours=1)) == "today 09:00 CET"
    assert FORMATS.moment(winter, winter + timedelta(hours=20)) == "yesterday 09:00 CET"


@given(st.datetimes(min_value=datetime(1980, 1, 1), max_value=datetime(2100, 1, 1)))  # noqa: DTZ001
def test_a_wall_time_reads_back_but_for_the_hour_that_occurs_twice(value: datetime) -> None:
    instant = value.replace(microsecond=0, tzinfo=UTC)
    back = datetime.fromisoformat(FORMATS.from_wall(FORMATS.wall(instant)))
    assert instant - back in (timedelta(0), timedelta(hours=1))


def test_lengths_of_time_are_words() -> None:
    assert duration(timedelta(days=1, hours=2, minutes=30)) == "1 d 2 h 30 min"
    assert duration(timedelta(0)) == "0 min"
    assert duration(-timedelta(minutes=5)) == "\u22125 min"


def test_a_list_address_reads_back_and_forgets_the_page_when_the_rows_change() -> None:
    state = ListState(q="a b", filter={"x": {"eq": "ä&"}}, sort="-x", columns=("x", "y"), limit=25, view="v")
    address = state.address("/data/things")
    assert read_state(dict(parse_qsl(urlsplit(address).query)), FORMATS) == state
    second = next_page(state, "c1", 25)
    third = next_page(second, "c2", 25)
    assert previous_page(third) == second
    assert previous_page(second) == state
    assert previous_page(state) is None
    assert "cursor" not in third.address("/data/things", sort="y")
    assert "offset" not in third.address("/data/things", q="")
    assert "cursor=c2" in third.address("/data/things", columns=())


def test_a_filter_from_a_date_and_time_control_is_an_instant_of_the_zone() -> None:
    state = read_state({"filter": '{"and":[{"at":{"gte":"2026-07-01T09:00"}}]}'}, FORMATS)
    assert state.filter == {"and": [{"at": {"gte": "2026-07-01T07:00:00+00:00"}}]}


def test_a_click_on_a_head_goes_up_down_and_back() -> None:
    assert [sorted_by(sort, "x") for sort in ("", "x", "-x", "y")] == ["x", "-x", "", "x"]


def test_markdown_is_clean() -> None:
    html = markdown(
        '# A\n\n<script>alert(1)</script> [x](javascript:alert(1)) ![i](http://e/x.png) <b onclick="x">b</b>'
    )
    for bad in ("<script", 'href="javascript', "<b ", "<img"):
        assert bad not in html
    assert "<h1>A</h1>" in html


def test_labels_inside_sentences() -> None:
    assert [small(label) for label in ("Trade", "SLA policy", "PnL fact")] == ["trade", "SLA policy", "PnL fact"]
    assert sentence("is required") == "Is required."
    assert sentence("Why?") == "Why?"
    assert [initials(name) for name in ("Ada King Byron", "ada", "", "?!")] == ["AB", "A", "?", "?"]
