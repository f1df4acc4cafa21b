"""Write and parse HTTP-dates (RFC 9110, section 5.6.7): `format_date` writes one form, `parse_date` reads all three."""

from __future__ import annotations

import re
from datetime import UTC, datetime

__all__ = ["format_date", "parse_date"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = "(?P<month>" + "|".join(_MONTHS) + ")"
_TIME = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DAY = "(?:" + "|".join(_DAYS) + ")"
# Compiled on first use, because most processes never need them.
_DATES = (
    rf"{_DAY}, (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT",
    "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, "
    rf"(?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT",
    rf"{_DAY} {_MONTH} (?P<day>[ 0-9][0-9]) {_TIME} (?P<year>[0-9]{{4}})",
)


def parse_date(header: str | None) -> datetime | None:
    """Return the moment of an HTTP-date (RFC 9110, section 5.6.7) in UTC; None if it is malformed or missing.

    All three forms are read: IMF-fixdate, RFC 850 (a year more than 50 years ahead belongs to the last century), and
    asctime. A leap second counts as the second before it.

    Example::

        parse_date("Sun, 06 Nov 1994 08:49:37 GMT")  # 1994-11-06 08:49:37+00:00
    """
    if header is None or len(header) > 100:
        return None
    text = header.strip(" \t")
    for pattern in _DATES:
        if match := re.fullmatch(pattern, text):
            break
    else:
        return None
    year = int(match["year"])
    if len(match["year"]) == 2:
        this_year = datetime.now(UTC).year
        year += this_year - this_year % 100
        if year > this_year + 50:
            year -= 100
    second = min(int(match["second"]), 59) if match["second"] == "60" else int(match["second"])
    month = _MONTHS.index(match["month"]) + 1
    hour, minute = int(match["hour"]), int(match["minute"])
    try:
        return datetime(year, month, int(match["day"]), hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


def format_date(moment: datetime) -> str:
    """Return the HTTP-date of an aware moment, in whole seconds.

    Example: `format_date(datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC))` -> `"Sun, 06 Nov 1994 08:49:37 GMT"`.
    """
    # strftime would use the language of the locale.
    moment = moment.astimezone(UTC)
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day:02} {_MONTHS[moment.month - 1]} "
        f"{moment.year:04} {moment:%H:%M:%S} GMT"
    )
