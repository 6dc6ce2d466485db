"""Settings: what is written is what counts, and nothing misspelt passes for a default."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.config import (
    Settings,
    SettingsError,
    find_config,
    load_settings,
    service_environ,
    settings_of,
)
from runtime.core.watchdog import BLOCKED_S
from runtime.setting_rules import Bounds

SHIPPED = Path(__file__).resolve().parents[2] / "config.toml"


def load(cwd: Path, /, text: str | None = None, **environ: str) -> Settings:
    """Return the settings of a folder with that `config.toml` and of that environment."""
    if text is not None:
        (cwd / "config.toml").write_text(text, encoding="utf-8")
    return load_settings(environ=environ, cwd=cwd)


def test_without_a_file_and_environment_the_defaults_apply(tmp_path: Path) -> None:
    """A stranger runs it without writing anything."""
    assert load(tmp_path) == Settings()


def test_shipped_file_lists_exactly_the_settings_there_are() -> None:
    """The file is the documentation: nothing may be missing, left over or different."""
    shipped = tomllib.loads(SHIPPED.read_text(encoding="utf-8"))

    for path, setting in settings_of(Settings):
        value = shipped
        for name in path.split("."):
            value = value[name]
        assert value == setting.default, path
        assert type(value) is type(setting.default), path
    assert load_settings(SHIPPED, environ={}) == Settings()


def test_shipped_file_explains_every_setting() -> None:
    """A key without a line above it leaves the reader to guess its unit."""
    lines = SHIPPED.read_text(encoding="utf-8").splitlines()

    bare = [
        line
        for above, line in itertools.pairwise(lines)
        if re.match(r"\w+ = ", line) and not above.startswith("# ")
    ]

    assert bare == []


def test_file_of_the_working_directory_is_read(tmp_path: Path) -> None:
    """The usual way to configure a runtime that is started by hand."""
    settings = load(tmp_path, "[cache]\nmemory_mb = 7\nmax_age_s = 2\n")

    assert settings.cache.memory_mb == 7
    assert settings.cache.max_age_s == 2.0
    assert isinstance(settings.cache.max_age_s, float)


def test_named_file_is_read_in_place_of_the_working_directory_s(tmp_path: Path) -> None:
    """`--config` means that file and no other."""
    named = tmp_path / "other.toml"
    named.write_text("[cache]\nmemory_mb = 8\n")
    (tmp_path / "config.toml").write_text("[cache]\nmemory_mb = 7\n")

    assert load_settings(named, environ={}, cwd=tmp_path).cache.memory_mb == 8


def test_named_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Falling back to defaults would run something nobody asked for."""
    with pytest.raises(SettingsError, match=r"there is no settings file .*absent\.toml"):
        load_settings(tmp_path / "absent.toml", environ={}, cwd=tmp_path)


def test_another_program_s_config_file_is_left_alone(tmp_path: Path) -> None:
    """A bot may keep its own config.toml in the folder it runs in."""
    assert load(tmp_path, "[strategy]\nlookback = 3\n") == Settings()
    assert find_config(None, cwd=tmp_path) is None


def test_file_with_one_of_our_sections_misspelt_is_ours_and_refused(tmp_path: Path) -> None:
    """Else the misspelling would turn the whole file into nothing."""
    with pytest.raises(SettingsError, match=r"no setting 'cahce\.memory_mb'.*did you mean"):
        load(tmp_path, "[cahce]\nmemory_mb = 7\n")


def test_unknown_key_is_refused_by_name_with_advice_and_place(tmp_path: Path) -> None:
    """Three things the reader needs: which, where, and what it should have been."""
    with pytest.raises(
        SettingsError,
        match=r"'cache\.memry_mb' \(in .*config\.toml\); did you mean 'cache\.memory_mb'\?",
    ):
        load(tmp_path, "[cache]\nmemry_mb = 7\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[cache]\nmemory_mb = 0", r"cache\.memory_mb must be at least 1, was 0 \(from .*toml\)"),
        ("[cache]\nmemory_mb = 10000000", r"memory_mb must be at most 1000000, was 10000000"),
        ("[cache]\nmemory_mb = true", r"memory_mb must be a whole number, was True"),
        ("[cache]\nmemory_mb = 1.5", r"memory_mb must be a whole number, was 1\.5"),
        ("[cache]\nmax_age_s = nan", r"max_age_s must be a number, was nan"),
        ("[cache]\nmax_age_s = '1'", r"max_age_s must be a number, was '1'"),
        ("[store]\nkind = 'redis'", r"store\.kind must be 'sqlite' or 'memory', was 'redis'"),
        ("[store]\nfile = '../x.db'", r"store\.file must be a plain file name, was '\.\./x\.db'"),
        ("[exchanges.upbit]\nenabled = 1", r"upbit\.enabled must be true or false, was 1"),
        ("[exchanges.upbit]\nrest_url = 'ftp://x'", r"must be a URL that begins with http:// or"),
        ("[exchanges.upbit]\nstream_url = 'https://x'", r"begins with ws:// or wss://, .*, or no"),
        ("[exchanges.upbit]\nrest_url = 'http://x:99999'", r"rest_url must be a URL"),
        ("[exchanges.upbit]\nrest_url = 'http://'", r"rest_url must be a URL"),
        ("[exchanges.upbit]\nrest_url = 'https://a.b@c.d'", r"without user name"),
        ("[exchanges.upbit]\nrest_url = 'https://a.b?x=1'", r"must be a URL .*, without user name"),
        ("[exchanges.upbit]\nrest_url = 'https://a.b/#x'", r"must be a URL .*, without user name"),
        ("cache = 5", r"there is no setting 'cache'"),
        ("[cache.memory_mb]\nx = 5", r"there is no setting 'cache\.memory_mb\.x'"),
        ("[cache", r"config\.toml cannot be read"),
    ],
)
def test_wrong_value_is_refused_with_what_was_wanted(
    tmp_path: Path, text: str, message: str
) -> None:
    """A wrong setting stops the start; it never becomes a default."""
    config = tmp_path / "config.toml"
    config.write_text(text)

    with pytest.raises(SettingsError, match=message):
        load_settings(config, environ={}, cwd=tmp_path)


def test_environment_has_the_last_word(tmp_path: Path) -> None:
    """Services and tests set single values without a file."""
    settings = load(
        tmp_path,
        "[cache]\nmemory_mb = 7\ncandles_per_series = 9\n",
        MARKETD_CACHE__MEMORY_MB="8",
        MARKETD_RUNTIME__STATE_DIR="/somewhere",
        MARKETD_EXCHANGES__UPBIT__ENABLED="no",
        MARKETD_EXCHANGES__UPBIT__TIMEOUT_S="3",
        MARKETD_EXCHANGES__UPBIT__REST_URL="http://127.0.0.1:8765",
    )

    assert (settings.cache.memory_mb, settings.cache.candles_per_series) == (8, 9)
    assert settings.runtime.state_dir == "/somewhere"
    assert not settings.exchanges.upbit.enabled
    assert settings.exchanges.upbit.timeout_s == 3.0
    assert settings.exchanges.upbit.rest_url == "http://127.0.0.1:8765"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "MARKETD_CACHE__MEMRY_MB",
            "1",
            "no setting for MARKETD_CACHE__MEMRY_MB; did you mean 'MARKETD_CACHE__MEMORY_MB'",
        ),
        ("MARKETD_", "1", "there is no setting for MARKETD_"),
        ("MARKETD_CACHE__MEMORY_MB", "lots", "whole number, was 'lots' .from MARKETD_CACHE__MEMO"),
        ("MARKETD_CACHE__MEMORY_MB", "0", "cache.memory_mb must be at least 1, was 0"),
        ("MARKETD_CACHE__MEMORY_MB", "9" * 5000, "must be"),
        ("MARKETD_CACHE__MAX_AGE_S", "inf", "must be a number, was inf"),
        ("MARKETD_EXCHANGES__UPBIT__ENABLED", "maybe", "must be true or false, was 'maybe'"),
        ("MARKETD_RUNTIME__LOG_LEVEL", "loud", "must be 'debug' or 'info'"),
    ],
)
def test_wrong_variable_is_refused_by_name(
    tmp_path: Path, variable: str, value: str, message: str
) -> None:
    """Whoever set it looks for the variable, not for a key in a file."""
    with pytest.raises(SettingsError, match=message):
        load_settings(environ={variable: value}, cwd=tmp_path)


def test_variables_of_other_programs_are_left_alone(tmp_path: Path) -> None:
    """Only the prefix is ours."""
    assert load(tmp_path, MARKET="x", PATH="y") == Settings()


@given(st.data())
def test_every_number_is_taken_inside_its_bounds_and_refused_outside(data: st.DataObject) -> None:
    """The bounds hold for each setting, from either source, however the number is written."""
    numbers = {path: each for path, each in settings_of(Settings) if isinstance(each.rule, Bounds)}
    path = data.draw(st.sampled_from(sorted(numbers)))
    setting = numbers[path]
    assert isinstance(setting.rule, Bounds)
    least, most = setting.rule
    value = data.draw(st.integers(-10, 10**9).map(setting.kind))
    variable = "MARKETD_" + path.upper().replace(".", "__")

    if least <= value <= most:
        settings: object = load_settings(environ={variable: repr(value)}, cwd=Path("/nowhere"))
        for name in path.split("."):
            settings = getattr(settings, name)
        assert settings == value
    else:
        with pytest.raises(SettingsError, match=f"{path} must be at"):
            load_settings(environ={variable: repr(value)}, cwd=Path("/nowhere"))


@pytest.mark.parametrize("value", ["0", "0.05", "1", "3600"])
def test_blocked_s_may_be_off_or_within_its_bounds(value: str) -> None:
    """0 switches it off; less than a beat would call every machine blocked."""
    settings = load_settings(environ={"MARKETD_RUNTIME__BLOCKED_S": value}, cwd=Path("/nowhere"))
    assert settings.runtime.blocked_s == float(value)


@pytest.mark.parametrize("value", ["-1", "0.01", "3601"])
def test_blocked_s_outside_its_bounds_is_refused(value: str) -> None:
    """With both ways to write it that would do."""
    with pytest.raises(SettingsError, match=r"blocked_s must be 0 for off, or 0\.05 to 3600, was"):
        load_settings(environ={"MARKETD_RUNTIME__BLOCKED_S": value}, cwd=Path("/nowhere"))


def test_of_the_service_manager_s_variables_only_those_that_are_set_are_given() -> None:
    """And nothing else of the environment."""
    environ = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "5", "PATH": "y"}
    assert service_environ(environ) == {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "5"}
    assert service_environ({}) == {}


def test_default_of_blocked_s_is_the_watchdog_s() -> None:
    """Which gives the reasons for it; settings do not import it, because it brings trio."""
    assert Settings().runtime.blocked_s == BLOCKED_S
