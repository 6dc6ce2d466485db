"""Rehearsed data and real data never come together in one database."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from runtime.config import SettingsError
from runtime.origin import ORIGIN_FILE, check_origin, is_this_machine, stream_url

REAL = {"upbit": "https://api.upbit.com"}
SANDBOX = {"upbit": "http://127.0.0.1:9000"}


@pytest.mark.parametrize(("first", "then"), [(REAL, SANDBOX), (SANDBOX, REAL)])
def test_a_change_between_here_and_outside_is_refused(
    tmp_path: Path, first: dict[str, str], then: dict[str, str]
) -> None:
    """Nobody could tell the candles apart afterwards; refused again and again."""
    check_origin(tmp_path, first)
    for _ in range(2):
        with pytest.raises(SettingsError, match=r"must not mix with real data.*state_dir"):
            check_origin(tmp_path, then)
    check_origin(tmp_path, first)


def test_another_port_or_host_on_the_same_side_is_fine(tmp_path: Path) -> None:
    """A sandbox takes a new port each time; an exchange may have several hosts."""
    check_origin(tmp_path, SANDBOX)
    check_origin(tmp_path, {"upbit": "http://localhost:1234/"})
    outside = tmp_path / "outside"
    outside.mkdir()
    check_origin(outside, REAL)
    check_origin(outside, {"upbit": "https://sg-api.upbit.com"})
    with pytest.raises(SettingsError, match=r"sg-api\.upbit\.com"):
        check_origin(outside, SANDBOX)


def test_each_exchange_has_an_origin_of_its_own(tmp_path: Path) -> None:
    """One may be rehearsed beside another that is real."""
    check_origin(tmp_path, SANDBOX)
    check_origin(tmp_path, {"okx": "https://www.okx.com"})

    assert msgspec.json.decode((tmp_path / ORIGIN_FILE).read_bytes()) == {
        **SANDBOX,
        "okx": "https://www.okx.com",
    }


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:9000", True),
        ("http://127.8.9.1", True),
        ("http://[::1]:9000/v1", True),
        ("http://[::ffff:127.0.0.1]:9000", True),
        ("http://0.0.0.0:9000", True),
        ("http://[::]:9000", True),
        ("http://localhost", True),
        ("http://LOCALHOST:1", True),
        ("http://localhost.:1", True),
        ("http://upbit.localhost", True),
        ("https://api.upbit.com", False),
        ("https://localhost.example.com", False),
        ("http://notlocalhost", False),
        ("http://10.0.0.1", False),
    ],
)
def test_this_machine_is_known_by_its_names(url: str, *, here: bool) -> None:
    """Everything else is the outside."""
    assert is_this_machine(url) is here


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"upbit": 5}', b"\xff"])
def test_a_damaged_record_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    """To guess would be to mix."""
    (tmp_path / ORIGIN_FILE).write_bytes(content)

    with pytest.raises(SettingsError, match=r"origin\.json cannot be read"):
        check_origin(tmp_path, REAL)
    assert (tmp_path / ORIGIN_FILE).read_bytes() == content


def test_a_record_of_a_url_that_is_none_is_refused(tmp_path: Path) -> None:
    """It was written by hand, and what was meant cannot be known."""
    (tmp_path / ORIGIN_FILE).write_bytes(b'{"upbit": "http://[::1"}')

    with pytest.raises(SettingsError, match=r"origin\.json"):
        check_origin(tmp_path, REAL)


def test_a_record_that_cannot_be_written_is_refused_by_name(tmp_path: Path) -> None:
    """The error is one that the command line knows how to show."""
    (tmp_path / "origin.new").mkdir()

    with pytest.raises(SettingsError, match=r"origin\.json cannot be written"):
        check_origin(tmp_path, REAL)


def test_nothing_is_written_where_nothing_has_changed(tmp_path: Path) -> None:
    """A folder that has become read-only can still be served from."""
    check_origin(tmp_path, REAL)
    before = (tmp_path / ORIGIN_FILE).stat().st_mtime_ns

    check_origin(tmp_path, REAL)

    assert (tmp_path / ORIGIN_FILE).stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("rest", "stream"),
    [
        ("https://api.upbit.com", "wss://api.upbit.com/websocket/v1"),
        ("https://sg-api.upbit.com/", "wss://sg-api.upbit.com/websocket/v1"),
        ("http://127.0.0.1:8765", "ws://127.0.0.1:8765/websocket/v1"),
        ("http://[::1]:8765/x/", "ws://[::1]:8765/x/websocket/v1"),
    ],
)
def test_streams_are_at_the_host_of_the_rest_interface(rest: str, stream: str) -> None:
    """Whoever points marketd at a sandbox points its streams there as well."""
    assert stream_url(rest) == stream
    assert stream_url(rest, stream) == stream


@pytest.mark.parametrize(
    ("rest", "stream"),
    [
        ("http://127.0.0.1:8765", "wss://api.upbit.com/websocket/v1"),
        ("https://api.upbit.com", "ws://localhost:8765/websocket/v1"),
    ],
)
def test_streams_of_another_market_than_the_rest_interface_are_refused(
    rest: str, stream: str
) -> None:
    """Live trades of one market among the candles of another would be wrong for ever."""
    with pytest.raises(SettingsError, match=r"stream_url is .* must be on this machine or both"):
        stream_url(rest, stream)
