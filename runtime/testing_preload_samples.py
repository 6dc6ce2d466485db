"""Sample answers to what is asked about needs and preloading."""

from __future__ import annotations

from typing import Any

import msgspec

from actors.preload_messages import PRELOAD_METHODS
from actors.preload_reports import (
    Explanation,
    FetchReport,
    NeedReport,
    PredictionReport,
    PreloadReport,
    Released,
)
from runtime.core.message import Request

_NEW_YEAR_MS = 1_767_225_600_000

# What each method needs, beside what has a default.
PRELOAD_SAMPLES: dict[str, dict[str, Any]] = {
    "need": {"market": "KRW-BTC", "timeframe": "1d", "indicators": ("ATR(20)", "VOLUME(30)")},
    "need.ready": {"market": "KRW-BTC", "timeframe": "1d"},
    "need.release": {"strategy": "momentum"},
}

SAMPLE_NEED = NeedReport(
    strategy="momentum",
    market="KRW-BTC",
    timeframe="1d",
    indicators=("ATR(20)", "VOLUME(30)"),
    state="fetching",
    needed=400,
    covered=200,
    widest="ATR(20): 291 until what came before counts for less than a millionth",
    missing="the oldest 200 candles are being fetched",
    ready_in_s=40.2,
    declared_ms=_NEW_YEAR_MS,
    used_ms=_NEW_YEAR_MS + 1,
    ends_ms=_NEW_YEAR_MS + 86_400_001,
)
READY_NEED = msgspec.structs.replace(
    SAMPLE_NEED, state="ready", covered=400, missing="", ready_in_s=0.0, took_s=0.8
)
_FAILING = msgspec.structs.replace(
    SAMPLE_NEED,
    market="KRW-NEW",
    state="failing",
    missing="upbit is away: no answer",
    ready_in_s=None,
    ends_ms=None,
)
_FETCH = FetchReport(
    market="KRW-BTC",
    timeframe="1d",
    candles=400,
    priority="declared",
    whom="momentum",
    since_s=0.25,
)
_EXPECTED = PredictionReport(
    market="KRW-ETH",
    timeframe="5m",
    due_in_s=41.0,
    probability=0.876,
    because="every 5 min, 2.0 s after the border",
    worth=True,
)
_REPORT = PreloadReport(
    exchange="upbit",
    fetching=(_FETCH,),
    expected=(_EXPECTED,),
    needs=3,
    ready=1,
    series=12,
    model_bytes=4_096,
    predictions=1_234,
    acted=130,
    used=100,
    wasted=25,
    asked=500,
    ready_when_asked=400,
    bar=0.45,
    spare=0.9,
    memory_bytes=1_234_567,
    memory_bytes_max=100_000_000,
    deepest=400,
)

_ANSWERS: dict[str, object] = {
    "need": SAMPLE_NEED,
    "need.ready": READY_NEED,
    "needs": (SAMPLE_NEED, _FAILING, READY_NEED),
    "need.release": Released(needs=2),
    "preload": (_REPORT,),
    "preload.explain": Explanation(sentences=("Nothing is needed.", "Nothing is expected.")),
}
_BY_KIND = {kind: _ANSWERS[name] for name, kind in PRELOAD_METHODS.items()}


def sample_preload_answer(request: Request[Any]) -> object | None:
    """Return a sample of the answer to `request`; None if it is not about preloading."""
    return _BY_KIND.get(type(request))
