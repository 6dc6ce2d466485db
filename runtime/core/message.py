"""The two kinds of message: a request is answered, an event is not.

Messages are frozen structs. The type of a request's answer travels in its class, so that
`ref.call(request)` is typed without a wrapper per message.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

ReplyT = TypeVar("ReplyT")


class Request(msgspec.Struct, Generic[ReplyT], frozen=True, kw_only=True):
    """A message that is answered exactly once, with a `ReplyT` or with an error."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A message that nobody waits for."""
