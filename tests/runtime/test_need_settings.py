"""`[[strategies.NAME]]`: what strategies need, written where everything else is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runtime.config import SettingsError, load_settings
from runtime.need_settings import StrategyNeed

SHIPPED = Path(__file__).resolve().parents[2] / "config.toml"
GOOD = 'market = "KRW-BTC"\ntimeframe = "1d"\n'


def load(folder: Path, text: str) -> dict[str, tuple[StrategyNeed, ...]]:
    """Return the strategies of a folder with that `config.toml`."""
    (folder / "config.toml").write_text(text, encoding="utf-8")
    return load_settings(environ={}, cwd=folder).strategies


def test_needs_are_read_by_the_strategy_s_name(tmp_path: Path) -> None:
    """Several tables for one, and several markets in one."""
    text = """
        [[strategies.trend]]
        market = "KRW-BTC"
        timeframe = "1d"
        indicators = ["ATR(20)", "RSI(14)"]
        [[strategies.trend]]
        markets = ["KRW-BTC", "okx:BTC-USDT"]
        timeframe = "1m"
        history = 500
        [[strategies.other]]
        market = "KRW-ETH"
        timeframe = "1h"
        history = "90d"
    """
    assert load(tmp_path, text) == {
        "trend": (
            StrategyNeed(market="KRW-BTC", timeframe="1d", indicators=("ATR(20)", "RSI(14)")),
            StrategyNeed(market="KRW-BTC", timeframe="1m", history=500),
            StrategyNeed(market="okx:BTC-USDT", timeframe="1m", history=500),
        ),
        "other": (StrategyNeed(market="KRW-ETH", timeframe="1h", history="90d"),),
    }


def test_the_example_that_we_ship_can_be_read(tmp_path: Path) -> None:
    """Whoever takes the comment signs away has a need."""
    shipped = SHIPPED.read_text(encoding="utf-8")
    found = re.findall(r"^# (\[\[strategies\..*\]\](?:\n# \w+ = .*)+)", shipped, flags=re.MULTILINE)
    text = "\n\n".join(example.replace("\n# ", "\n") for example in found)
    assert set(load(tmp_path, text)) == {"trend"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("strategies = 5", r"strategies must be tables such as \[strategies\.NAME\], was 5 \(from"),
        (
            f"[strategies.trend]\n{GOOD}",
            r"strategies\.trend must be tables such as \[\[strategies\.NAME\]\], was \{'market'",
        ),
        ("[strategies]\ntrend = [5]", r"strategies\.trend must be a table, was 5"),
        (
            f"[[strategies.a]]\n{GOOD}indicator = ['ATR(20)']",
            r"no setting 'strategies\.a\.indicator' \(in .*\); did you mean 'indicators'\?",
        ),
        (
            f"[[strategies.a]]\n{GOOD}history = 1.5",
            "history must be a whole number or text, was 1.5",
        ),
        (
            f"[[strategies.a]]\n{GOOD}history = 0",
            "strategies.a: history, in candles, must be 1 to 100000, was 0",
        ),
        (f"[[strategies.a]]\n{GOOD}history = '90'", "or a length of time such as 90d"),
        (
            "[[strategies.a]]\nmarket = 'KRW-BTC'\ntimeframe = '1m'\nhistory = '9000d'",
            r"strategies.a: history, in candles, must be 1 to 100000, was 12960000 \(from",
        ),
        (
            f"[[strategies.a]]\n{GOOD}indicators = {['ATR(20)'] * 101}",
            "strategies.a: indicators must be at most 100, were 101",
        ),
        (f"[[strategies.{'a' * 65}]]\n{GOOD}", "strategy must be a name of 1 to 64"),
        (
            f"[[strategies.a]]\n{GOOD}markets = ['KRW-ETH']",
            "either market or markets, and not both",
        ),
        ("[[strategies.a]]\ntimeframe = '1d'", "either market or markets, and not both"),
        ("[[strategies.a]]\nmarket = 'KRW-BTC'\ntimeframe = '2d'", "timeframe must be one of"),
        (f"[[strategies.a]]\n{GOOD}" * 2, "strategies.a: KRW-BTC 1d must be named once, was again"),
        (
            "".join(f"[[strategies.a{number}]]\n{GOOD}" for number in range(101)),
            r"strategies must be at most 100, were 101 \(from",
        ),
    ],
)
def test_a_mistake_is_refused_with_what_was_wanted(tmp_path: Path, text: str, message: str) -> None:
    """Name, what was wanted, what was there, and where."""
    with pytest.raises(SettingsError, match=message):
        load(tmp_path, text)
