"""`[jobs.NAME]`: as clear about mistakes as any other setting."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from actors.job_reports import JobSpec
from runtime.config import Settings, SettingsError, find_config, load_settings

SHIPPED = Path(__file__).resolve().parents[2] / "config.toml"
GOOD = 'every_s = 60\nmarkets = ["KRW-BTC"]\ntimeframes = ["1m"]\n'


def load(folder: Path, text: str, **environ: str) -> Settings:
    """Return the settings of a folder with that `config.toml`, and of that environment."""
    (folder / "config.toml").write_text(text, encoding="utf-8")
    return load_settings(environ=environ, cwd=folder)


def uncommented(section: str) -> str:
    """Return the examples of a section in the file we ship, as if they were meant."""
    text = SHIPPED.read_text(encoding="utf-8")
    found = re.findall(rf"^# (\[+{section}\..*\](?:\n# \w+ = .*)+)", text, flags=re.MULTILINE)
    return "\n\n".join(example.replace("\n# ", "\n") for example in found)


def test_jobs_are_read_by_name(tmp_path: Path) -> None:
    """Each as it is written, the rest as it is by default."""
    text = f"""
        [cache]
        memory_mb = 7
        [jobs.often]
        {GOOD}
        [jobs.nightly]
        cron = "5 0 * * *"
        timezone = "Asia/Seoul"
        jitter_s = 30.5
        quote = "KRW"
        timeframes = ["1m", "1d"]
        history = "30d"
    """
    settings = load(tmp_path, text)
    assert settings.cache.memory_mb == 7
    assert settings.jobs == {
        "often": JobSpec(every_s=60.0, markets=("KRW-BTC",), timeframes=("1m",)),
        "nightly": JobSpec(
            cron="5 0 * * *",
            timezone="Asia/Seoul",
            jitter_s=30.5,
            quote="KRW",
            timeframes=("1m", "1d"),
            history="30d",
        ),
    }


def test_the_examples_that_we_ship_can_be_read(tmp_path: Path) -> None:
    """Whoever takes the comment signs away has jobs that run."""
    settings = load(tmp_path, uncommented("jobs"))
    assert set(settings.jobs) == {"nightly", "closes"}


def test_the_examples_name_every_field() -> None:
    """The file is the documentation."""
    text = SHIPPED.read_text(encoding="utf-8")
    assert [name for name in JobSpec.__struct_fields__ if f"# {name} = " not in text] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jobs = 5", r"jobs must be tables such as \[jobs\.NAME\], was 5 \(from .*config\.toml\)"),
        ("[jobs]\nnightly = 5", r"jobs\.nightly must be a table, was 5 \(from"),
        (
            f"[jobs.a]\n{GOOD}evry_s = 5",
            r"no setting 'jobs\.a\.evry_s' \(in .*config\.toml\); did you mean 'every_s'\?",
        ),
        ("[jobs.a]\nevery_s = '60'", r"jobs\.a\.every_s must be a number, was '60' \(from"),
        ("[jobs.a]\nevery_s = true", r"jobs\.a\.every_s must be a number, was True"),
        ("[jobs.a]\nevery_s = nan", r"jobs\.a\.every_s must be a number, was nan"),
        ("[jobs.a]\ncount = 1.5", r"jobs\.a\.count must be a whole number, was 1\.5"),
        ("[jobs.a]\ncron = 5", r"jobs\.a\.cron must be text, was 5"),
        ("[jobs.a]\nmarkets = 'KRW-BTC'", r"jobs\.a\.markets must be a list of texts, was 'KRW"),
        ("[jobs.a]\nmarkets = [1]", r"jobs\.a\.markets must be a list of texts, was \[1\]"),
        (f"[jobs.a]\n{GOOD}cron = '5 0 * * *'", r"jobs\.a: a job must have either every_s or cron"),
        (
            f"[jobs.a]\n{GOOD}count = 0",
            r"jobs\.a: count must be 1 to 100000, was 0 \(from .*config\.toml\)",
        ),
        (
            "[jobs.a]\nevery_s = 60\nexchange = 'binance'\nmarkets = ['binance:BTC-USDT']",
            r"jobs\.a\.exchange must be 'upbit', was 'binance' \(from .*config\.toml\)",
        ),
        (
            "[jobs.a]\nevery_s = 60\nmarkets = []",
            r"jobs\.a: a job must have either markets or quote, had neither \(from",
        ),
        (f"[jobs.'a b']\n{GOOD}", r"jobs\.a b: name must be 1 to 64 letters"),
        (f"[cache]\n[job.a]\n{GOOD}", r"no setting 'job\.a\.every_s'.*did you mean 'jobs'\?"),
        (
            "".join(f"[jobs.a{number}]\n{GOOD}" for number in range(65)),
            r"jobs must be at most 64, were 65 \(from",
        ),
    ],
)
def test_a_mistake_is_refused_with_what_was_wanted(tmp_path: Path, text: str, message: str) -> None:
    """Name, what was wanted, what was there, and where."""
    with pytest.raises(SettingsError, match=message):
        load(tmp_path, text)


@pytest.mark.parametrize("name", ["JOBS__NIGHTLY__EVERY_S", "JOBS", "STRATEGIES__TREND__MARKET"])
def test_the_environment_cannot_set_them(tmp_path: Path, name: str) -> None:
    """It is for single values; the message says where these live."""
    section = name.partition("__")[0].lower()
    wanted = f"MARKETD_{name} cannot be set: {section} live in the settings file, as tables"
    with pytest.raises(SettingsError, match=wanted):
        load(tmp_path, "", **{f"MARKETD_{name}": "5"})


def test_a_file_with_nothing_but_jobs_is_ours(tmp_path: Path) -> None:
    """And one of a bot with a section `job` is not."""
    assert load(tmp_path, f"[jobs.a]\n{GOOD}").jobs.keys() == {"a"}
    (tmp_path / "config.toml").write_text("[job]\nname = 'x'\n")
    assert find_config(None, cwd=tmp_path) is None
