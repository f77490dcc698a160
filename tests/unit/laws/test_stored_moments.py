"""Moments on SQLite: what the statements of the hot paths write is what SQLAlchemy writes, and reads."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from payments_core_sqlalchemy.tables import Utc

DIALECT = sqlite.dialect()
SQLALCHEMYS: Any = Utc().dialect_impl(DIALECT)
WRITES, READS = SQLALCHEMYS.bind_processor(DIALECT), SQLALCHEMYS.result_processor(DIALECT, None)
FIRST, LAST = datetime(1000, 1, 3), datetime(9999, 12, 29)  # noqa: DTZ001 - the zone is drawn
MOMENTS = st.datetimes(FIRST, LAST, timezones=st.timezones())


@given(MOMENTS)
def test_a_moment_is_written_as_sqlalchemy_does_and_read_back(moment: datetime) -> None:
    text = Utc.to_text(moment)
    assert text is not None
    assert text == WRITES(moment)
    assert READS(text) == moment.astimezone(UTC)


def test_no_moment_is_none_and_one_without_a_zone_is_refused() -> None:
    assert Utc.to_text(None) is None
    for write in (Utc.to_text, WRITES):
        with pytest.raises(ValueError, match="without a time zone"):
            write(FIRST)
