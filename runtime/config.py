"""Settings: every knob, its default and its bounds; from a file and from the environment.

The file is the one named by `--config`, else `config.toml` of the working directory, else none.
The environment has the last word: `MARKETD_` and the path joined by double underscores, such as
`MARKETD_CACHE__MEMORY_MB`. A key that does not exist is refused by name, wherever it was written:
misspelt, it would be a default that nobody asked for. The `config.toml` we ship lists what is here.
"""

from __future__ import annotations

import os
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from actors.job_reports import JobSpec
from runtime.job_settings import read_jobs
from runtime.key_settings import KeysSettings
from runtime.names import did_you_mean, printable
from runtime.need_settings import StrategyNeed, read_strategies
from runtime.preload_settings import PreloadSettings
from runtime.setting_rules import Bounds, FileName, OffOr, Setting, Url, checked
from runtime.setting_rules import SettingsError as SettingsError  # noqa: PLC0414 - for others, too

ENV_PREFIX = "MARKETD_"
CONFIG_FILE = "config.toml"

# Sections whose tables have names of their owner's choosing, and what reads them.
_NAMED: dict[str, Callable[..., dict[str, Any]]] = {
    "jobs": read_jobs,
    "strategies": read_strategies,
}

# Source: sd_notify(3), sd_watchdog_enabled(3) and systemd.exec(5).
_SERVICE_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_CREDENTIALS = "CREDENTIALS_DIRECTORY"

StructT = TypeVar("StructT", bound=msgspec.Struct)


class RuntimeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The runtime itself.

    Attributes:
      state_dir: Folder of the database and the lock; empty for the user's own data folder.
      log_level: The least important messages that are logged.
      blocked_s: How long the daemon's event loop may stand still before the log says who is in the
        way, in seconds; 0 for never.
      stop_s: How long the daemon may take to stop, in seconds; then it logs what still runs and
        ends with exit code 1.
    """

    state_dir: str = ""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    # As `runtime.core.watchdog` justifies it; not taken from there, which would bring trio along.
    blocked_s: Annotated[float, OffOr(0.05, 3_600)] = 1.0
    # What the service manager allows is more (systemd: 90 s), so that ours comes first and can say
    # something. Every actor within its own limits is done in about half of it.
    stop_s: Annotated[float, Bounds(1, 3_600)] = 30.0


class ControlSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The local socket.

    Attributes:
      socket: Path of the socket; empty for `control.sock` in the user's own runtime folder.
      connections_max: Connections at once; more are refused with an error.
      request_bytes_max: Longest request line, in bytes; a longer one is refused and skipped.
      requests_in_flight_max: Requests of one connection worked on at once; more are not read yet.
      patience_s: How long a subscriber may leave its updates unread before it is cut off.
    """

    socket: str = ""
    connections_max: Annotated[int, Bounds(1, 10_000)] = 64
    request_bytes_max: Annotated[int, Bounds(1_024, 64 * 1024 * 1024)] = 1024 * 1024
    requests_in_flight_max: Annotated[int, Bounds(1, 1_000)] = 32
    patience_s: Annotated[float, Bounds(1, 86_400)] = 120.0


class UpbitSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Upbit.

    Attributes:
      enabled: Whether it is served at all.
      rest_url: Where its REST interface is.
      streams: Whether its live streams are used.
      stream_url: Where they are; empty for `/websocket/v1` at the host of `rest_url`.
      timeout_s: How long one request may take, in seconds.
      tries: How often a request that brought no answer is sent in all, 1 for never again.
    """

    enabled: bool = True
    rest_url: Annotated[str, Url(("http", "https"))] = "https://api.upbit.com"
    streams: bool = True
    stream_url: Annotated[str, Url(("ws", "wss"), optional=True)] = ""
    timeout_s: Annotated[float, Bounds(0.1, 300)] = 10.0
    tries: Annotated[int, Bounds(1, 10)] = 3


class ExchangesSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The exchanges, one section each."""

    upbit: UpbitSettings = UpbitSettings()


class FeedSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The live streams.

    Attributes:
      auto: Whether a market that is asked for often is streamed without anybody subscribing.
      silent_s: How long a stream may say nothing before it is subscribed to anew, in seconds.
      dead_s: How long a connection may say nothing at all before it is given up, in seconds.
      rotate_s: At which age a connection is replaced by a new one, in seconds.
    """

    auto: bool = True
    silent_s: Annotated[float, Bounds(1, 3_600)] = 60.0
    dead_s: Annotated[float, Bounds(15, 120)] = 25.0
    rotate_s: Annotated[float, Bounds(60, 604_800)] = 21_600.0


class CacheSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cache in memory.

    Attributes:
      candles_per_series: Newest candles kept in memory of each series; more where bots ask for
        more, and fewer where memory is scarce and they ask for fewer.
      memory_mb: Memory for candles of all series, in MB of 1,000,000 bytes.
      max_age_s: How old the newest part of an answer may be, in seconds, if a request does not say.
      quote_max_age_s: The same of tickers, order books and trades.
      settle_s: How long after its end a candle may still change at the exchange, in seconds.
      gather_s: How long a request for an exchange waits for others to share its pages, in seconds.
    """

    candles_per_series: Annotated[int, Bounds(1, 1_000_000)] = 200
    memory_mb: Annotated[int, Bounds(1, 1_000_000)] = 100
    max_age_s: Annotated[float, Bounds(0, 86_400)] = 1.0
    quote_max_age_s: Annotated[float, Bounds(0, 86_400)] = 0.5
    settle_s: Annotated[float, Bounds(0, 600)] = 5.0
    gather_s: Annotated[float, Bounds(0, 1)] = 0.01


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where candles are kept over a restart.

    Attributes:
      kind: `sqlite`, or `memory` to keep nothing.
      file: The database's file name, inside the state folder.
    """

    kind: Literal["sqlite", "memory"] = "sqlite"
    file: Annotated[str, FileName()] = "candles.db"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings: a section each, and the tables of the file that have names of their own.

    Attributes:
      jobs: What is collected on a schedule, by the job's name.
      strategies: What each strategy needs, by its name.
    """

    runtime: RuntimeSettings = RuntimeSettings()
    control: ControlSettings = ControlSettings()
    exchanges: ExchangesSettings = ExchangesSettings()
    feed: FeedSettings = FeedSettings()
    cache: CacheSettings = CacheSettings()
    store: StoreSettings = StoreSettings()
    keys: KeysSettings = KeysSettings()
    preload: PreloadSettings = PreloadSettings()
    jobs: dict[str, JobSpec] = {}
    strategies: dict[str, tuple[StrategyNeed, ...]] = {}


def load_settings(
    config_path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Settings:
    """Return the settings: defaults, then the file, then the environment.

    Args:
      config_path: The file to read; if None, `find_config` looks for one.
      environ: The environment; the process's own if None.
      cwd: The working directory; the process's own if None.

    Raises:
      SettingsError: A key is unknown, a value is wrong, or the file cannot be read.
    """
    known = dict(settings_of(Settings))
    values: dict[str, Any] = {}
    path = find_config(config_path, cwd=Path.cwd() if cwd is None else cwd)
    if path is not None:
        values.update(_from_file(path, known))
    # This module is the only one of the project that reads the environment.
    environ = os.environ if environ is None else environ  # noqa: TID251
    values.update(_from_environ(environ, known))
    return _build(Settings, values)


def service_environ(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what a service manager has put into the environment of its service, if one has.

    Args:
      environ: The environment; the process's own if None.
    """
    environ = os.environ if environ is None else environ  # noqa: TID251 - as above
    return {name: environ[name] for name in _SERVICE_VARIABLES if name in environ}


def credentials_dir(environ: Mapping[str, str] | None = None) -> Path | None:
    """Return where the service manager has put credentials, if it has.

    Args:
      environ: The environment; the process's own if None.
    """
    environ = os.environ if environ is None else environ  # noqa: TID251 - as above
    return Path(environ[_CREDENTIALS]) if environ.get(_CREDENTIALS) else None


def find_config(config_path: Path | None, *, cwd: Path) -> Path | None:
    """Return the file that settings come from, or None if only defaults apply.

    A `config.toml` in the working directory is ours if one of its sections is named like one of
    ours, or nearly: bots have such files too.

    Raises:
      SettingsError: `config_path` is not a file, or a file is not TOML.
    """
    if config_path is not None:
        if not config_path.is_file():
            raise SettingsError(f"there is no settings file {config_path}")
        return config_path
    path = cwd / CONFIG_FILE
    if not path.is_file():
        return None
    return path if any(_is_like_ours(name) for name in _read_toml(path)) else None


def settings_of(struct: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, Setting]]:
    """Return every setting of `struct` with its path, such as `cache.memory_mb`.

    Those in tables that are named by who writes them have no path that could be foretold.
    """
    hints = typing.get_type_hints(struct, include_extras=True)
    defaults = struct()
    for name in struct.__struct_fields__:
        kind, rule = hints[name], None
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            yield from settings_of(kind, f"{prefix}{name}.")
            continue
        if name in _NAMED:
            continue
        if typing.get_origin(kind) is Annotated:
            kind, rule = typing.get_args(kind)
        yield f"{prefix}{name}", Setting(kind, rule, getattr(defaults, name))


def _is_like_ours(section: str) -> bool:
    sections = Settings.__struct_fields__
    # A bot's own `[strategy]` or `[job]` is none of ours misspelt.
    alike = [name for name in sections if name not in _NAMED]
    return section in sections or bool(did_you_mean(section, alike, likeness=0.75))


def _read_toml(path: Path) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 - a command without a file must not wait for it

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {printable(str(error))}") from error


def _from_file(path: Path, known: Mapping[str, Setting]) -> dict[str, Any]:
    tables = _read_toml(path)
    values: dict[str, Any] = {
        section: read(tables.pop(section), origin=str(path))
        for section, read in _NAMED.items()
        if section in tables
    }
    for name, value in _flatten(tables):
        if name not in known:
            section = name.partition(".")[0]
            advice = did_you_mean(name, known) or did_you_mean(section, _NAMED, likeness=0.75)
            advice = advice or _foreign(section, known)
            raise SettingsError(f"there is no setting {printable(name)!r} (in {path}){advice}")
        values[name] = checked(name, known[name], value, origin=str(path))
    return values


def _foreign(section: str, known: Mapping[str, Setting]) -> str:
    if any(path.startswith(f"{section}.") for path in known):
        return ""
    return "; if the file is not marketd's, name marketd's own with --config"


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _from_environ(environ: Mapping[str, str], known: Mapping[str, Setting]) -> dict[str, Any]:
    names = {ENV_PREFIX + path.upper().replace(".", "__"): path for path in known}
    values = {}
    for variable in sorted(environ):
        if not variable.startswith(ENV_PREFIX):
            continue
        section = variable.removeprefix(ENV_PREFIX).partition("__")[0].lower()
        if section in _NAMED:
            raise SettingsError(
                f"{printable(variable)} cannot be set: {section} live in the settings file, as "
                f"tables {section}.NAME"
            )
        if variable not in names:
            advice = did_you_mean(variable, names)
            raise SettingsError(f"there is no setting for {printable(variable)}{advice}")
        path = names[variable]
        value = _from_text(known[path], environ[variable])
        values[path] = checked(path, known[path], value, origin=variable)
    return values


def _from_text(setting: Setting, text: str) -> Any:
    """Return `text` as the setting's type; the text itself if it is none, for `_checked` to say."""
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    try:
        if setting.kind is bool:
            return words.get(text.strip().lower(), text)
        return setting.kind(text) if setting.kind in (int, float) else text
    except ValueError:
        return text


def _build(struct: type[StructT], values: Mapping[str, Any], prefix: str = "") -> StructT:
    hints = typing.get_type_hints(struct)
    fields = {}
    for name in struct.__struct_fields__:
        path = f"{prefix}{name}"
        if isinstance(hints[name], type) and issubclass(hints[name], msgspec.Struct):
            fields[name] = _build(hints[name], values, f"{path}.")
        elif path in values:
            fields[name] = values[path]
    return struct(**fields)
