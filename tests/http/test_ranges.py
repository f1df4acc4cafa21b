"""Which parts of a representation a request asks for, and whether it asks at all (RFC 9110, 13 and 14)."""

from __future__ import annotations

import re
from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kui.http.ranges import (
    MAX_RANGES,
    ByteRange,
    Choice,
    Validators,
    choose,
    conditions,
    parse_etags,
    parse_range,
    same_strongly,
    same_weakly,
)

NOW = 784_111_777
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = formatdate(NOW - 1, usegmt=True)
AFTER = formatdate(NOW + 1, usegmt=True)
KNOWN = Validators('"v1"', NOW)


# ---- one range


@pytest.mark.parametrize(
    ("header", "selected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-99", (0, 100)),
        ("bytes=0-", (0, 100)),
        ("bytes=99-", (99, 100)),
        ("bytes=10-19", (10, 20)),
        ("bytes=10-1000", (10, 100)),
        ("bytes=-1", (99, 100)),
        ("bytes=-100", (0, 100)),
        ("bytes=00000000000000000000000000000010-0011", (10, 12)),
    ],
)
def test_a_range_selects_its_bytes(header: str, selected: tuple[int, int]) -> None:
    assert parse_range(header, 100) == (selected,)


def test_a_suffix_longer_than_the_representation_selects_all_of_it() -> None:
    assert parse_range("bytes=-500", 100) == ((0, 100),)


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=-000"])
def test_a_range_beyond_the_end_selects_nothing(header: str) -> None:
    assert parse_range(header, 100) == ()


@pytest.mark.parametrize("header", ["BYTES=0-1", "bytes=,0-1,,", "bytes=0-1 ,\t", "bytes =0-1"])
def test_units_know_no_case_and_lists_may_have_empty_elements(header: str) -> None:
    assert parse_range(header, 100) == ((0, 2),)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=1",
        "bytes=2-1",
        "bytes=a-b",
        "bytes=0-1,x",
        "bytes=0-1;2-3",
        "bytes=0 - 1",
        "bytes=0-1-2",
        "bytes=--1",
        "bytes=+1-2",
        "bytes=0x1-2",
        "bytes=1_0-20",
        "bytes=\u00b2-5",
        "bytes=0-1, bytes=2-3",
        "items=0-1",
        "=0-1",
        "0-1",
    ],
)
def test_what_is_malformed_or_in_other_units_is_ignored(header: str) -> None:
    assert parse_range(header, 100) is None


def test_one_malformed_range_spoils_the_others_wherever_it_stands() -> None:
    assert parse_range("bytes=900-,9-5", 100) is None
    assert parse_range("bytes=9-5,900-", 100) is None


def test_of_nothing_a_suffix_is_all_and_a_position_is_beyond_the_end() -> None:
    assert parse_range("bytes=-5", 0) is None
    assert parse_range("bytes=0-", 0) == ()
    assert parse_range("bytes=0-0", 0) == ()
    assert parse_range("bytes=-0", 0) == ()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-{n}", ((0, 100),)),
        ("bytes=-{n}", ((0, 100),)),
        ("bytes={n}-", ()),
        ("bytes={n}-{n}", ()),
        ("bytes={n}0-{n}", None),
        ("bytes={n}-{n}0", ()),
        ("bytes={n}-0", None),
    ],
)
@pytest.mark.parametrize("digits", [19, 20, 5_000, 1_000_000])
def test_numbers_of_any_length_are_compared(
    header: str, digits: int, expected: tuple[ByteRange, ...] | None
) -> None:
    assert parse_range(header.format(n="9" * digits), 100) == expected


def test_a_number_of_a_million_zeros_is_nought() -> None:
    assert parse_range(f"bytes={'0' * 1_000_000}-0", 100) == ((0, 1),)


# ---- several ranges


@pytest.mark.parametrize(
    ("header", "selected"),
    [
        ("bytes=0-9,20-29", [(0, 10), (20, 30)]),
        ("bytes=20-29,0-9", [(20, 30), (0, 10)]),
        ("bytes=0-9,10-19", [(0, 20)]),
        ("bytes=0-9,5-19", [(0, 20)]),
        ("bytes=10-19,0-9", [(0, 20)]),
        ("bytes=0-99,10-19", [(0, 100)]),
        ("bytes=0-9,11-19", [(0, 10), (11, 20)]),
        ("bytes=50-59,0-9,55-69", [(50, 70), (0, 10)]),
        ("bytes=55-69,0-9,50-59", [(50, 70), (0, 10)]),
        ("bytes=0-9,500-,-1", [(0, 10), (99, 100)]),
    ],
)
def test_ranges_that_overlap_or_touch_become_one_where_the_first_was_asked_for(
    header: str, selected: list[tuple[int, int]]
) -> None:
    assert parse_range(header, 100) == tuple(selected)


def test_a_hundred_ranges_are_served_and_one_more_gives_the_whole() -> None:
    specs = [f"{2 * n}-{2 * n}" for n in range(MAX_RANGES + 1)]
    assert len(parse_range("bytes=" + ",".join(specs[:-1]), 1000) or ()) == MAX_RANGES
    assert parse_range("bytes=" + ",".join(specs), 1000) is None


def naive(header: str, size: int) -> list[set[int]] | None:
    """The standard's sentences, one by one, with sets of positions."""
    specs = [spec.strip(" \t") for spec in header.removeprefix("bytes=").split(",")]
    specs = [spec for spec in specs if spec]
    if not specs or len(specs) > MAX_RANGES:
        return None
    sets: list[set[int]] = []
    for spec in specs:
        if not re.fullmatch("[0-9]+-[0-9]*|-[0-9]+", spec):
            return None
        first, _, last = spec.partition("-")
        if first and last and int(last) < int(first):
            return None
        if not first and int(last) and not size:
            return None
        wanted = [
            n
            for n in range(size)
            if (
                n >= int(first) and (not last or n <= int(last)) if first else n >= size - int(last)
            )
        ]
        if wanted:
            sets.append(set(wanted))
    return sets


numbers = st.integers(0, 60).map(str) | st.sampled_from(["", "007", "9" * 30])
specs = st.tuples(numbers, numbers).map("-".join) | st.sampled_from(
    ["", " 1-2\t", "x", "1", "1 -2"]
)
headers = st.lists(specs, max_size=8).map(lambda parts: "bytes=" + ",".join(parts))


@settings(deadline=None)
@given(headers, st.integers(0, 50))
def test_any_header_selects_what_the_sentences_of_the_standard_select(
    header: str, size: int
) -> None:
    expected, got = naive(header, size), parse_range(header, size)
    assert (expected is None) == (got is None)
    if expected is None or got is None:
        return
    parts = [set(range(start, stop)) for start, stop in got]
    assert set().union(*parts) == set().union(*expected)
    for part in parts:
        assert part
        for other in parts:
            assert other is part or not ({n + 1 for n in part} | part) & other
    order = [next(i for i, wanted in enumerate(expected) if wanted <= part) for part in parts]
    assert order == sorted(order)


@settings(deadline=None)
@given(st.text(), st.integers(0, 2**70))
def test_no_header_raises(header: str, size: int) -> None:
    parse_range(header, size)
    parse_range(f"bytes={header}", size)
    parse_etags(header)
    asked = dict.fromkeys(("range", "if-range", "if-match", "if-modified-since"), header)
    choose("GET", asked, size, KNOWN)


# ---- entity tags


@pytest.mark.parametrize(
    ("header", "tags"),
    [
        ('"a"', ['"a"']),
        ('"a", W/"b"', ['"a"', 'W/"b"']),
        ('"a,b" ,\t"c"', ['"a,b"', '"c"']),
        (',, "a",,', ['"a"']),
        ('""', ['""']),
        ('"\xe9"', ['"\xe9"']),
        (" * ", ["*"]),
        ("", []),
        ("a", []),
        ('"a" "b"', []),
        ('"a', []),
        ('"a", b', []),
        ('*, "a"', []),
        ('w/"a"', []),
        ('W/ "a"', []),
        ('"a b"', []),
    ],
)
def test_entity_tags_are_read_as_they_stand(header: str, tags: list[str]) -> None:
    assert parse_etags(header) == tags


@pytest.mark.parametrize("filler", [" ", "\t", ",", '"', "W/", '"a" ', " ,"])
def test_long_malformed_lists_take_linear_time(filler: str) -> None:
    assert parse_etags(filler * 500_000 + "x") == []


def test_the_table_of_comparisons() -> None:
    table = [
        ('W/"1"', 'W/"1"', False, True),
        ('W/"1"', 'W/"2"', False, False),
        ('W/"1"', '"1"', False, True),
        ('"1"', '"1"', True, True),
    ]
    for one, other, strongly, weakly in table:
        assert same_strongly(one, other) is strongly
        assert same_weakly(one, other) is weakly


# ---- preconditions


def answer(method: str = "GET", validators: Validators = KNOWN, /, **asked: str) -> int:
    fields = {name.replace("_", "-"): value for name, value in asked.items()}
    return choose(method, fields, 100, validators).status


def test_without_conditions_all_of_it_is_sent() -> None:
    assert choose("GET", {}, 100, KNOWN) == Choice(200)


@pytest.mark.parametrize(
    ("header", "status"),
    [('"v1"', 304), ('W/"v1"', 304), ('"v0", "v1"', 304), ("*", 304), ('"v0"', 200), ("v1", 200)],
)
def test_if_none_match_compares_weakly(header: str, status: int) -> None:
    assert answer(if_none_match=header) == status
    assert answer("HEAD", if_none_match=header) == status


def test_if_none_match_fails_for_a_method_that_changes_things() -> None:
    assert answer("PUT", if_none_match="*") == 412
    assert answer("PUT", if_none_match='"v0"') == 200


@pytest.mark.parametrize(
    ("header", "status"),
    [(DATE, 304), (AFTER, 304), (BEFORE, 200), ("yesterday", 200), (f"{DATE}, {DATE}", 200)],
)
def test_if_modified_since_compares_dates(header: str, status: int) -> None:
    assert answer(if_modified_since=header) == status
    assert answer("HEAD", if_modified_since=header) == status
    assert answer("POST", if_modified_since=header) == 200


@pytest.mark.parametrize("form", ["Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"])
def test_the_obsolete_forms_of_dates_are_read(form: str) -> None:
    assert answer(if_modified_since=form) == 304


def test_if_none_match_is_asked_before_if_modified_since() -> None:
    assert answer(if_none_match='"v0"', if_modified_since=AFTER) == 200
    assert answer(if_none_match='"v1"', if_modified_since=BEFORE) == 304


@pytest.mark.parametrize(
    ("header", "status"), [('"v1"', 200), ("*", 200), ('"v0"', 412), ('W/"v1"', 412), ("v1", 412)]
)
def test_if_match_compares_strongly(header: str, status: int) -> None:
    for method in ("GET", "HEAD", "PUT"):
        assert answer(method, if_match=header) == status


def test_a_weak_validator_of_ours_never_matches_strongly() -> None:
    weak = Validators('W/"v1"', NOW)
    assert answer("GET", weak, if_match='W/"v1"') == 412
    assert answer("GET", weak, if_none_match='W/"v1"') == 304
    assert answer("GET", weak, range="bytes=0-0", if_range='W/"v1"') == 200


@pytest.mark.parametrize(
    ("header", "status"), [(DATE, 200), (AFTER, 200), (BEFORE, 412), ("yesterday", 200)]
)
def test_if_unmodified_since_compares_dates(header: str, status: int) -> None:
    assert answer(if_unmodified_since=header) == status


def test_if_match_is_asked_before_if_unmodified_since() -> None:
    assert answer(if_match='"v1"', if_unmodified_since=BEFORE) == 200
    assert answer(if_match='"v0"', if_unmodified_since=AFTER) == 412


def test_412_comes_before_304_and_304_before_the_range() -> None:
    assert answer(if_match='"v0"', if_none_match='"v1"') == 412
    assert answer(if_match='"v1"', if_none_match='"v1"', range="bytes=0-0") == 304
    assert answer(if_none_match='"v1"', range="bytes=900-") == 304


def test_dates_are_ignored_where_there_is_no_date_to_compare() -> None:
    undated = Validators('"v1"')
    assert answer("GET", undated, if_modified_since=AFTER) == 200
    assert answer("GET", undated, if_unmodified_since=BEFORE) == 200
    assert answer("GET", undated, if_range=DATE, range="bytes=0-0") == 200


# ---- ranges under conditions


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ('"v1"', 206),
        (' "v1"', 206),
        (DATE, 206),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 206),
        ('"v0"', 200),
        ('W/"v1"', 200),
        (AFTER, 200),
        (BEFORE, 200),
        ("*", 200),
        ("v1", 200),
        ('"v1", "v1"', 200),
        ("", 200),
    ],
)
def test_if_range_wants_the_same_bytes_exactly(header: str, status: int) -> None:
    assert answer(range="bytes=0-9", if_range=header) == status


def test_if_range_that_fails_saves_from_416() -> None:
    assert answer(range="bytes=900-", if_range='"v0"') == 200
    assert answer(range="bytes=900-", if_range='"v1"') == 416


def test_if_range_without_range_means_nothing() -> None:
    assert answer(if_range='"v0"') == 200


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "OPTIONS"])
def test_only_get_has_ranges(method: str) -> None:
    assert answer(method, range="bytes=0-9") == 200
    assert answer(method, range="bytes=900-") == 200


def test_the_ranges_come_with_206_only() -> None:
    choice = choose("GET", {"range": "bytes=0-9,90-"}, 100, KNOWN)
    assert choice == Choice(206, (ByteRange(0, 10), ByteRange(90, 100)))
    assert choose("GET", {"range": "bytes=900-"}, 100, KNOWN) == Choice(416)


def test_a_content_range_counts_its_last_byte() -> None:
    assert ByteRange(0, 10).content_range(100) == "bytes 0-9/100"


# ---- reading the request


def test_only_the_fields_that_matter_are_collected() -> None:
    raw = [(b"host", b"a"), (b"range", b"bytes=0-1"), (b"if-none-match", b'"\xe9"')]
    assert conditions(raw) == {"range": "bytes=0-1", "if-none-match": '"\xe9"'}
    assert conditions([(b"host", b"a")]) == {}


def test_several_lines_are_one_list_and_spoil_what_is_no_list() -> None:
    raw = [(b"if-none-match", b'"v0"'), (b"if-none-match", b'"v1"')]
    assert choose("GET", conditions(raw), 100, KNOWN).status == 304
    raw = [(b"range", b"bytes=0-0"), (b"range", b"bytes=0-0")]
    assert choose("GET", conditions(raw), 100, KNOWN).status == 200
    raw = [(b"if-modified-since", AFTER.encode()), (b"if-modified-since", AFTER.encode())]
    assert choose("GET", conditions(raw), 100, KNOWN).status == 200
