"""Next times: over changes of the clock, and whatever the expression, always later than the moment asked about."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.jobs.schedule_times import BadTime, check_cron, check_zone, next_cron, next_interval

BERLIN = "Europe/Berlin"
ZONES = ("UTC", BERLIN, "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia")
MOMENTS = st.integers(0, 4 * 366 * 86_400).map(lambda s: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=s))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-{text}+00:00")


def times(expression: str, after: datetime, count: int, zone: str = BERLIN) -> list[datetime]:
    found = []
    for _ in range(count):
        after = next_cron(expression, zone, after)
        found.append(after)
    return found


def test_a_time_of_day_keeps_to_the_clock_on_the_wall():
    assert times("0 3 * * *", utc("03-27T12:00"), 3) == [utc("03-28T02:00"), utc("03-29T01:00"), utc("03-30T01:00")]


def test_a_time_that_is_left_out_comes_at_the_end_of_the_gap():
    assert times("30 2 * * *", utc("03-28T12:00"), 2) == [utc("03-29T01:00"), utc("03-30T00:30")]


def test_a_time_that_comes_twice_is_met_once():
    assert times("30 2 * * *", utc("10-24T12:00"), 2) == [utc("10-25T00:30"), utc("10-26T01:30")]


def test_asked_between_the_two_the_first_is_over():
    assert next_cron("30 2 * * *", BERLIN, utc("10-25T01:10")) == utc("10-26T01:30")


def test_what_goes_by_hours_is_met_in_each_of_them():
    assert times("*/30 * * * *", utc("10-25T00:30"), 4) == [
        utc("10-25T01:00"),
        utc("10-25T01:30"),
        utc("10-25T02:00"),
        utc("10-25T02:30"),
    ]


FIELDS = st.tuples(
    st.sampled_from(["*", "*/7", "0", "30", "5,35"]),
    st.sampled_from(["*", "*/5", "2", "2,3", "0-4"]),
    st.sampled_from(["*", "1", "29", "L", "*/9"]),
    st.sampled_from(["*", "2", "3,10", "MAR-OCT"]),
    st.sampled_from(["*", "SUN", "1-5", "MON#2", "5L"]),
)


@given(fields=FIELDS, zone=st.sampled_from(ZONES), after=MOMENTS)
def test_the_next_time_is_later_and_fits_the_clock_or_the_end_of_a_gap(
    fields: tuple[str, ...], zone: str, after: datetime
):
    expression = check_cron(" ".join(fields))
    found = next_cron(expression, zone, after)
    assert found > after
    there = found.astimezone(ZoneInfo(zone))
    assert (there.second, there.microsecond) == (0, 0)
    if fields[:2] == ("30", "2"):
        before_gap = found - timedelta(minutes=1)
        assert (there.hour, there.minute) == (2, 30) or before_gap.astimezone(ZoneInfo(zone)).utcoffset() != (
            there.utcoffset()
        )


@given(text=st.text(alphabet="0123456789*,-/#LWMONSUJANx ² ", max_size=40))
def test_any_text_is_read_or_refused(text: str):
    try:
        expression = check_cron(text)
    except BadTime:
        return
    assert next_cron(expression, BERLIN, utc("01-01T00:00")) > utc("01-01T00:00")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "five fields"),
        ("* * * * * *", "this one has 6"),
        ("@daily", "0 3 * * *"),
        ("61 * * * *", "The field minute"),
        ("0 24 * * *", "The field hour"),
        ("0 0 30 2 *", "no date fits it"),
        ("0 0 * * 9", "The field day-of-week"),
    ],
)
def test_a_wrong_expression_is_told_where(text: str, said: str):
    with pytest.raises(BadTime, match=said.replace("*", r"\*")):
        check_cron(text)


def test_a_time_zone_is_known_by_its_name():
    assert check_zone(BERLIN) == BERLIN
    for name, near in (("europe/berlin", "'Europe/Berlin'"), ("Berlin", "'Europe/Berlin'"), ("", "or UTC")):
        with pytest.raises(BadTime, match=near):
            check_zone(name)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/localtime", "right/Europe/Berlin", "posixrules"])
def test_a_file_is_no_time_zone(name: str):
    with pytest.raises(BadTime):
        check_zone(name)


@given(every_s=st.integers(60, 366 * 86_400), planned=MOMENTS, passed_s=st.floats(0, 1e8))
def test_intervals_keep_step_and_skip_what_is_over(every_s: int, planned: datetime, passed_s: float):
    after = planned + timedelta(seconds=passed_s)
    found = next_interval(every_s, planned, after)
    assert after < found <= after + timedelta(seconds=every_s)
    assert (found - planned) % timedelta(seconds=every_s) == timedelta(0)
