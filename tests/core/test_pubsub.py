"""`PubSub`: everybody is told, nobody is waited for."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from runtime.core.errors import BadSpec
from runtime.core.pubsub import LeftOut, PubSub, Subscription, latest_of_topic


async def received(subscription: Subscription, count: int) -> list[object]:
    """Return the next `count` events."""
    return [await subscription.receive() for _ in range(count)]


async def test_every_subscriber_of_a_topic_gets_every_event_in_order() -> None:
    """And nobody else does."""
    pubsub = PubSub()
    with pubsub.subscribe("a") as one, pubsub.subscribe("a", "b") as two:
        assert [pubsub.publish("a", 1), pubsub.publish("b", 2), pubsub.publish("c", 3)] == [2, 1, 0]
        assert pubsub.publish("a", 4) == 2

        assert await received(one, 2) == [1, 4]
        assert await received(two, 3) == [1, 2, 4]


async def test_a_slow_subscriber_loses_the_oldest_and_is_told_how_many() -> None:
    """It slows neither the publisher nor the others."""
    pubsub = PubSub()
    with pubsub.subscribe("a", capacity=2) as slow, pubsub.subscribe("a") as quick:
        for number in range(5):
            pubsub.publish("a", number)

        assert (slow.dropped, quick.dropped) == (3, 0)
        assert await received(slow, 2) == [3, 4]
        assert await received(quick, 5) == [0, 1, 2, 3, 4]


async def test_a_waiting_subscriber_is_woken(nursery: trio.Nursery) -> None:
    """The usual order: first it waits, then something happens."""
    pubsub = PubSub()
    got: list[object] = []
    with pubsub.subscribe("a") as subscription:

        async def read() -> None:
            got.extend(await received(subscription, 2))

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        pubsub.publish("a", 1)
        pubsub.publish("a", 2)
        await trio.testing.wait_all_tasks_blocked()

    assert got == [1, 2]


async def test_cancelling_a_waiting_subscriber_loses_nothing() -> None:
    """What comes afterwards is there for its next try."""
    pubsub = PubSub()
    with pubsub.subscribe("a") as subscription:
        with trio.move_on_after(1):
            await subscription.receive()
        pubsub.publish("a", 1)

        assert await subscription.receive() == 1


async def test_two_readers_of_one_subscription_share_its_events(nursery: trio.Nursery) -> None:
    """Each event goes to one of them, whoever is woken first."""
    pubsub = PubSub()
    got: list[object] = []
    with pubsub.subscribe("a") as subscription:

        async def read() -> None:
            got.extend(await received(subscription, 3))

        nursery.start_soon(read)
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(6):
            pubsub.publish("a", number)
        await trio.testing.wait_all_tasks_blocked()

    assert sorted(got, key=str) == [0, 1, 2, 3, 4, 5]


async def test_the_end_of_a_subscription_ends_its_readers(nursery: trio.Nursery) -> None:
    """A reader in another task gets what is queued and then ends, instead of hanging."""
    pubsub = PubSub()
    got: list[object] = []

    async def read(subscription: Subscription) -> None:
        got.extend([event async for event in subscription])
        got.append("end")

    with pubsub.subscribe("a") as subscription:
        nursery.start_soon(read, subscription)
        await trio.testing.wait_all_tasks_blocked()
        pubsub.publish("a", 1)
        pubsub.publish("a", 2)
    await trio.testing.wait_all_tasks_blocked()

    assert got == [1, 2, "end"]
    with pytest.raises(trio.EndOfChannel, match=r"^$"):
        await subscription.receive()


async def test_a_subscription_ends_with_its_block_even_by_an_error() -> None:
    """Nothing is left behind that events would pile up in."""
    pubsub = PubSub()
    with pytest.raises(ValueError, match=r"boom"), pubsub.subscribe("a", "b"):
        raise ValueError("boom")

    assert (pubsub.publish("a", 1), pubsub.publish("b", 1)) == (0, 0)
    assert pubsub._subscriptions == {}


async def test_a_topic_named_twice_counts_once() -> None:
    """Otherwise each event would come twice."""
    pubsub = PubSub()
    with pubsub.subscribe("a", "a"):
        assert pubsub.publish("a", 1) == 1


def test_a_subscription_that_holds_nothing_is_refused() -> None:
    """It would drop each event before it was seen."""
    with (
        pytest.raises(BadSpec, match=r"capacity must be at least 1, was 0"),
        PubSub().subscribe("a", capacity=0),
    ):
        pytest.fail("must not run")


async def test_a_newer_event_takes_the_place_of_the_older_one_of_its_key() -> None:
    """Who pauses gets the present state of each topic, and is told how much is lacking."""
    pubsub = PubSub()
    with pubsub.subscribe("a", "b", key=latest_of_topic) as subscription:
        for number in range(3):
            pubsub.publish("a", f"a{number}")
            pubsub.publish("b", f"b{number}")

        assert await received(subscription, 2) == ["a2", "b2"]
        assert subscription.left_out() == LeftOut(replaced=4, dropped=0)
        assert subscription.left_out() == LeftOut(0, 0)

        pubsub.publish("b", "b3")
        pubsub.publish("a", "a3")
        assert await received(subscription, 2) == ["b3", "a3"]


async def test_more_keys_than_there_is_room_for_drop_the_oldest() -> None:
    """Keys come from outside, so they are bounded as well."""
    pubsub = PubSub()
    with pubsub.subscribe("a", capacity=2, key=lambda _, event: event) as subscription:
        for number in (1, 2, 2, 3):
            pubsub.publish("a", number)

        assert [subscription.take() for _ in range(3)] == [2, 3, None]
        assert subscription.left_out() == LeftOut(replaced=1, dropped=1)


async def test_one_queue_may_hear_several() -> None:
    """In the order in which things happen, whoever publishes them."""
    one, other, queue = PubSub(), PubSub(), Subscription(10)
    with one.subscribe("a", into=queue), other.subscribe("a", into=queue):
        one.publish("a", 1)
        other.publish("a", 2)
        queue.offer("a", 3)
        await queue.wait()

        assert await received(queue, 3) == [1, 2, 3]
    with pytest.raises(trio.EndOfChannel, match=r"^$"):
        await queue.wait()


def test_asking_who_listens_tells_only_who_does() -> None:
    """So that nobody makes an event for nobody."""
    pubsub = PubSub()
    assert not pubsub.has("a")
    with pubsub.subscribe("a"):
        assert (pubsub.has("a"), pubsub.has("b")) == (True, False)
    assert not pubsub.has("a")
