"""Indicators as text, and what a strategy needs of its exchange."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import InvalidRequest
from actors.preloading.indicator_reach import AVERAGES
from actors.preloading.indicator_table import RULES, Param
from actors.preloading.indicators import (
    TEXT_MAX,
    Indicator,
    Value,
    indicator,
    indicator_names,
    need_of,
)
from actors.queries import CANDLES_MAX


def values(param: Param) -> st.SearchStrategy[Value]:
    """Return values that the parameter may have."""
    if param.kind == "average":
        return st.sampled_from(list(AVERAGES))
    if param.kind == "whole":
        return st.integers(int(param.least), 2_000)
    return st.floats(max(param.least, 0.005), min(param.most, 1e6), allow_nan=False)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Return an indicator as people may write it."""
    name = draw(st.sampled_from(sorted(RULES)))
    params = RULES[name].params[: draw(st.integers(0, 4))]
    named = draw(st.integers(0, len(params)))
    written = [
        f"{param.name} = {draw(values(param))}" if at >= named else f"{draw(values(param))}"
        for at, param in enumerate(params)
    ]
    name = draw(st.sampled_from([name, name.lower(), f" {name.title()} "]))
    separator = draw(st.sampled_from([",", ", ", " , "]))
    return f"{name}({separator.join(written)})"


@given(texts())
def test_what_an_indicator_is_written_as_reads_as_the_same(text: str) -> None:
    """With all its parameters, in capitals and in order, and never with more than can be read."""
    try:
        read = indicator(text)
    except InvalidRequest as error:
        assert "candles to be exact" in str(error)  # noqa: PT017
        return

    assert indicator(str(read)) == read
    assert len(str(read)) <= TEXT_MAX
    assert 1 <= read.candles <= CANDLES_MAX


@given(st.text(max_size=120))
def test_any_text_is_an_indicator_or_is_refused(text: str) -> None:
    """Nothing else comes out, whatever is typed."""
    with suppress(InvalidRequest):
        assert isinstance(indicator(text), Indicator)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("ATR", "ATR(14)"),
        ("atr()", "ATR(14)"),
        (" Atr ( 20 ) ", "ATR(20)"),
        ("ATR(timeperiod=20)", "ATR(20)"),
        ("MACD(12, 26, 9)", "MACD(12, 26, 9)"),
        ("macd(10, signalperiod=5)", "MACD(10, 26, 5)"),
        ("BBANDS(20, nbdevup=2.5, matype=1)", "BBANDS(20, 2.5, 2, EMA)"),
        ("bbands(matype=t3)", "BBANDS(20, 2, 2, T3)"),
        ("OBV", "OBV"),
        ("HIGH(60)", "HIGH(60)"),
        ("SAR(1e-2, .3)", "SAR(0.01, 0.3)"),
    ],
)
def test_text_is_read_as_people_write_it(text: str, written: str) -> None:
    """In any case, with spaces, in order or by name, with what is left out at its default."""
    assert str(indicator(text)) == written


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be like ATR"),
        ("ATR(20", "must be like ATR"),
        ("ATRR(20)", r"no indicator 'ATRR' is known, did you mean .*ATR.* Known are: AC ACCBANDS"),
        ("ATR(20, 3)", r"ATR\(timeperiod=14\): takes 1, there were 2"),
        ("ATR(0)", "timeperiod must be a whole number from 1 to 100000, was 0"),
        ("ATR(2.5)", "timeperiod must be a whole number from 1 to 100000, was 2.5"),
        ("ATR(100001)", "from 1 to 100000, was 100001"),
        ("ATR(x)", "must be a whole number .*, was x"),
        ("ATR(20,)", "'' is not a value"),
        ("ATR(period=20)", r"ATR\(timeperiod=14\): has no period"),
        ("ATR(20, timeperiod=20)", "timeperiod is given twice"),
        ("MACD(fastperiod=5, 26)", "26 must be named too"),
        ("MAMA(0.5, 0.001)", "slowlimit must be a number from 0.01 to 0.99, was 0.001"),
        ("BBANDS(20, nan)", "nbdevup must be a number .*, was nan"),
        ("MA(20, VWMA)", "matype must be one of SMA=0 EMA=1 .* RMA=13, was VWMA"),
        ("MA(20, 10)", "matype must be one of .*, was 10"),
        ("SMA(100000, ATR(20))", "is not a value"),
        ("EMA(100000)", r"EMA\(100000\) needs more than 100000 candles"),
        ("SAR(0)", r"SAR\(0, 0.2\) needs more than 100000 candles"),
        ("EMA(" + "9" * 500 + ")", "at most 400 characters, was 505"),
    ],
)
def test_what_cannot_be_is_refused_and_says_what_was_wanted(text: str, said: str) -> None:
    """The name, the parameter, its range, and what was there."""
    with pytest.raises(InvalidRequest, match=said):
        indicator(text)


def test_every_indicator_says_why_it_needs_so_many() -> None:
    """In one sentence, with the number in it unless the number means nothing."""
    for name in indicator_names():
        made = indicator(name)
        assert made.relative or str(made.candles) in made.why or "more" in made.why
    assert indicator("ATR(20)").why == (
        "Wilder's smoothing over 20: 21 to begin, 270 more until what came before counts for less "
        "than a millionth"
    )
    assert indicator("HIGH(60)").why == "60 hold all that it is computed from"
    assert "only its changes" in indicator("OBV").why


def test_a_need_is_its_widest_with_a_margin_in_full_pages() -> None:
    """A strategy with an average true range needs more than its longest window."""
    need = need_of(map(indicator, ["ATR(20)", "RSI(14)", "HIGH(60)", "VOLUME(30)"]))

    assert (need.exact, need.margin, need.candles) == (291, 50, 400)
    assert str(need.widest) == "ATR(20)"


def test_history_alone_is_rounded_to_pages_without_a_margin() -> None:
    """Who says how many candles has said what is needed; nothing at all is one page."""
    assert need_of([], history=200).candles == 200
    assert need_of([], history=201).candles == 400
    assert need_of([]).candles == 200
    assert need_of([], history=200).margin == 0
    assert need_of([], history=200).widest is None


def test_history_is_not_added_to_the_indicators() -> None:
    """Both look back from the same newest candle."""
    high = indicator("HIGH(60)")

    assert need_of([high], history=1_000).candles == 1_000
    assert need_of([high], history=50).candles == 200


def test_at_the_bound_the_margin_gives_way() -> None:
    """The indicator itself is never cut."""
    need = need_of([indicator(f"SMA({CANDLES_MAX})")])

    assert need.exact == need.candles == CANDLES_MAX
    assert need.margin == 0
    assert need_of([indicator(f"SMA({CANDLES_MAX - 20})")]).margin == 20


@pytest.mark.parametrize("name", sorted(RULES))
def test_all_parameters_may_be_named_to_the_last_digit(name: str) -> None:
    """What a bot makes by calling an indicator with what it has computed is never too long."""
    longest = {"average": "DEMA", "whole": "100000", "number": "-1.2345678901234567e-100"}
    written = ", ".join(
        f"{each.name}={longest.get(each.kind, 24 * '9')}" for each in RULES[name].params
    )

    assert len(f"{name}({written})") <= TEXT_MAX


@given(
    st.lists(st.sampled_from(["ATR(20)", "HIGH(300)", "OBV", "EMA(200)"]).map(indicator)),
    st.integers(0, CANDLES_MAX),
    st.integers(0, 500),
    st.integers(1, 1_000),
)
def test_a_need_holds_everything_and_wastes_less_than_a_page(
    wanted: list[Indicator], history: int, margin: int, page: int
) -> None:
    """Full pages, unless the bound cuts the last."""
    need = need_of(wanted, history=history, margin=margin, page=page)

    assert need.candles >= max([history, need.exact])
    assert need.candles % page == 0 or need.candles == CANDLES_MAX
    assert need.candles < max(need.exact + need.margin, history, 1) + page


@pytest.mark.parametrize(
    "wrong", [{"history": -1}, {"margin": -1}, {"page": 0}, {"history": 10**6}]
)
def test_a_number_out_of_bounds_is_refused(wrong: dict[str, int]) -> None:
    """And named."""
    with pytest.raises(InvalidRequest, match=next(iter(wrong))):
        need_of([], **wrong)
