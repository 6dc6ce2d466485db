"""Say in sentences what is fetched before anybody asks, for whom and why. Plain functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from actors.limit_words import words_of_s
from actors.preload_reports import Explanation, NeedReport, PredictionReport, PreloadReport

_LISTED_MAX = 20


def explain(
    report: PreloadReport,
    needs: Sequence[NeedReport],
    expected: Sequence[PredictionReport],
    *,
    market: str = "",
    timeframe: str = "",
) -> Explanation:
    """Return what there is to say.

    Args:
      report: All of the exchange's preloading.
      needs: The needs to speak of.
      expected: The expected requests to speak of.
      market: What is spoken of, if not everything.
      timeframe: The same.
    """
    what = f"{market} {timeframe}".strip()
    sentences = [*_needs(needs, what), *_fetching(report, market, timeframe)]
    if report.learning:
        sentences += [*_expected(report, expected, what), *_record(report)]
    else:
        sentences.append(
            "Habits are not learnt, and no request is expected: preload.learn is false."
        )
    return Explanation(sentences=tuple(sentences))


def need_sentence(need: NeedReport) -> str:
    """Return how far a need is, in a sentence."""
    what = f"{need.strategy} needs {need.needed} candles of {need.market} {need.timeframe}"
    because = f" ({need.widest})" if need.widest else ""
    if need.state == "ready":
        took = "" if need.took_s is None else f"; it took {words_of_s(need.took_s)}"
        young = "" if need.whole else f" with the {need.covered} that exist"
        return f"{what}{because}: ready{young}{took}."
    there = f"{need.covered} of {need.needed} are there"
    if need.state == "failing":
        return f"{what}{because}: {there}; the last try failed: {need.missing}."
    when = (
        "" if need.ready_in_s is None else f", all of them in about {words_of_s(need.ready_in_s)}"
    )
    return f"{what}{because}: {there}, {need.missing}{when}."


def _needs(needs: Sequence[NeedReport], what: str) -> Iterator[str]:
    if not needs:
        yield f"No strategy has declared that it needs {what or 'anything'}."
    # What is lacking is why somebody asks.
    for need in sorted(needs, key=lambda each: each.state == "ready")[:_LISTED_MAX]:
        yield need_sentence(need)
    if len(needs) > _LISTED_MAX:
        yield f"And {len(needs) - _LISTED_MAX} needs more."


def _fetching(report: PreloadReport, market: str, timeframe: str) -> Iterator[str]:
    for fetch in report.fetching[:_LISTED_MAX]:
        if market in ("", fetch.market) and timeframe in ("", fetch.timeframe):
            yield (
                f"{fetch.market} {fetch.timeframe} is being fetched since "
                f"{words_of_s(fetch.since_s)} as {fetch.priority}, for: {fetch.whom}."
            )


def _expected(
    report: PreloadReport, expected: Sequence[PredictionReport], what: str
) -> Iterator[str]:
    if not expected:
        yield f"No request {'for ' + what + ' ' if what else ''}is expected."
    for each in expected[:_LISTED_MAX]:
        verdict = "it will be fetched before" if each.worth else _not_worth(report, each)
        due = words_of_s(max(0.0, each.due_in_s))
        yield (
            f"A request for {each.market} {each.timeframe} is expected in {due}, with a "
            f"probability of {each.probability:.0%} ({each.because}): {verdict}."
        )


def _not_worth(report: PreloadReport, each: PredictionReport) -> str:
    if each.probability < report.bar:
        return f"not fetched before, which pays from {report.bar:.0%} on"
    if report.spare < 1:
        return f"not fetched before, as only {report.spare:.0%} of the limit is unused"
    return f"not fetched before, as that would save no more than {words_of_s(report.page_s)}"


def _record(report: PreloadReport) -> Iterator[str]:
    done = report.used + report.wasted
    if not done:
        yield "Nothing that was fetched ahead has been put to the test yet."
        return
    yield (
        f"Of {done} pages fetched ahead {report.used} were asked for in time "
        f"({report.used / done:.0%}), {report.wasted} were not."
    )
    if report.asked:
        yield (
            f"Of {report.asked} times that candles were asked for, a page fetched ahead was ready "
            f"{report.ready_when_asked} times ({report.ready_when_asked / report.asked:.0%})."
        )
