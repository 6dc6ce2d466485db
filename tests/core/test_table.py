"""`Table`: read by everybody without asking, written by one, outliving its writer's crash."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.core.errors import TableOwned
from runtime.core.table import Table, TableWriter


@pytest.fixture
def table() -> Table[str, int]:
    """An empty table."""
    return Table("candles")


@pytest.fixture
def writer(table: Table[str, int]) -> TableWriter[str, int]:
    """The right to write it."""
    return table.claim("cache")


def test_what_is_written_is_read(table: Table[str, int], writer: TableWriter[str, int]) -> None:
    """A missing key is None, and deleting one that is not there is no error."""
    writer.put("a", 1)
    writer.put("b", 2)
    writer.put("a", 3)
    writer.delete("b")
    writer.delete("b")

    assert (table.get("a"), table.use("a"), table.get("b"), table.use("b")) == (3, 3, None, None)
    assert (len(table), list(table.items())) == (1, [("a", 3)])


def test_a_second_writer_is_refused_by_name(
    table: Table[str, int], writer: TableWriter[str, int]
) -> None:
    """Two writers would undo each other's work."""
    writer.put("a", 1)
    with pytest.raises(TableOwned, match=r"table 'candles' already has a writer: 'cache'"):
        table.claim("somebody else")

    assert table.get("a") == 1


def test_the_next_incarnation_finds_everything_and_writes_on(
    table: Table[str, int], writer: TableWriter[str, int]
) -> None:
    """A crash does not empty what readers look at, even if nothing was released."""
    writer.put("a", 1)
    heir = table.claim("cache")
    heir.put("b", 2)

    assert dict(table.items()) == {"a": 1, "b": 2}


def test_a_released_table_goes_to_whoever_claims_it(
    table: Table[str, int], writer: TableWriter[str, int]
) -> None:
    """The values stay, and the former writer can do no more harm."""
    writer.put("a", 1)
    writer.release()
    other = table.claim("other")
    writer.release()
    other.put("b", 2)

    assert dict(table.items()) == {"a": 1, "b": 2}
    with pytest.raises(TableOwned, match=r"no longer written by 'cache'"):
        writer.put("a", 9)
    with pytest.raises(TableOwned, match=r"no longer written by 'cache'"):
        writer.delete("a")


def test_the_former_incarnation_can_write_no_more(table: Table[str, int]) -> None:
    """It may have outlived its end, and its heir is the one who is right."""
    former = table.claim("cache")
    heir = table.claim("cache")
    with pytest.raises(TableOwned, match=r"table 'candles' is no longer written by 'cache'"):
        former.put("a", 1)
    former.release()
    heir.put("a", 2)

    assert table.get("a") == 2


def refuse(_values: object) -> bool:
    """Find everything corrupt."""
    return False


def fall_over(values: Mapping[str, int]) -> bool:
    """Find out by falling over it."""
    return values["missing"] > 0


@pytest.mark.parametrize("accept", [refuse, fall_over])
def test_an_heir_can_refuse_what_is_corrupt(
    table: Table[str, int],
    writer: TableWriter[str, int],
    accept: Callable[[Mapping[str, int]], bool],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Better an empty table than one that crashes each incarnation in turn."""
    writer.put("a", 1)
    heir = table.claim("cache", accept=accept)
    heir.put("b", 2)

    assert heir.refused
    assert dict(table.items()) == {"b": 2}
    assert table.least_recently_used() == "b"
    assert caplog.messages == ["cache found table 'candles' corrupt, and starts it anew"]


def test_an_heir_that_accepts_and_one_that_finds_nothing_refuse_nothing(
    table: Table[str, int],
) -> None:
    """An empty table cannot be corrupt, and nobody looks at it."""
    first = table.claim("cache", accept=refuse)
    first.put("a", 1)
    heir = table.claim("cache", accept=lambda values: values == {"a": 1})

    assert (first.refused, heir.refused, table.get("a")) == (False, False, 1)


def test_only_reading_counts_as_a_use(
    table: Table[str, int], writer: TableWriter[str, int]
) -> None:
    """A live feed that writes for ever must not keep alive what nobody asks for."""
    writer.put("a", 1)
    writer.put("b", 2)
    writer.put("a", 3)
    table.get("a")
    list(table.items())
    assert table.least_recently_used() == "a"

    table.use("a")
    assert table.least_recently_used() == "b"
    assert (table.uses("a"), table.uses("b"), table.uses("c")) == (1, 0, 0)


def test_an_empty_table_has_no_least_recently_used(table: Table[str, int]) -> None:
    """Nothing to push out."""
    assert table.least_recently_used() is None


def test_a_key_that_comes_back_starts_anew(
    table: Table[str, int], writer: TableWriter[str, int]
) -> None:
    """Its reads of before it was pushed out say nothing about now."""
    writer.put("a", 1)
    table.use("a")
    writer.delete("a")
    writer.put("a", 1)

    assert table.uses("a") == 0


def test_items_are_one_moments_view(table: Table[str, int], writer: TableWriter[str, int]) -> None:
    """Writing while somebody iterates must not break the reader."""
    for key in "abc":
        writer.put(key, 1)
    seen = []
    for key, value in table.items():
        seen.append((key, value))
        writer.delete(key)
        writer.put(key.upper(), 2)

    assert seen == [("a", 1), ("b", 1), ("c", 1)]


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["put", "get", "peek", "delete"]), st.integers(0, 4)),
        max_size=60,
    )
)
def test_the_order_of_uses_is_that_of_an_ordered_dictionary(steps: list[tuple[str, int]]) -> None:
    """Against the simplest model: a key moves to the end when it is new or read."""
    table: Table[int, int] = Table("t")
    writer = table.claim("w")
    model: dict[int, None] = {}
    for kind, key in steps:
        match kind:
            case "put":
                writer.put(key, key)
                model.setdefault(key)
            case "get":
                if table.use(key) is not None:
                    model[key] = model.pop(key)
            case "peek":
                table.get(key)
            case "delete":
                writer.delete(key)
                model.pop(key, None)
        assert table.least_recently_used() == next(iter(model), None)
        assert len(table) == len(model)
