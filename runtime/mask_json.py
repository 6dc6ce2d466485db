"""Masking in JSON: word by word, so that what comes out is JSON again, with every digit kept."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Literal

from runtime.mask_patterns import IS_AMOUNT, IS_AMOUNT_NAME, IS_SECRET_NAME, MASK

_WORD = re.compile(r'"(?:[^"\\]|\\.)*+"|[{}\[\],:]|[^\s"{}\[\],:]++|\s++')
_MASKED = f'"{MASK}"'

# What becomes of the values below a name: nothing special, all hidden, numbers hidden.
_Mode = Literal["plain", "secret", "amount"]


def mask_json_text(text: str, mask: Callable[[str], str]) -> str:
    """Return the JSON text with every word masked that must be.

    Args:
      text: Valid JSON.
      mask: Masks what stands between quotation marks.
    """
    return "".join(_masked(text, mask))


def _masked(text: str, mask: Callable[[str], str]) -> Iterator[str]:
    modes: list[_Mode] = ["plain"]  # of the containers around; as many as the text is deep
    next_mode: _Mode = "plain"
    names: dict[str, tuple[_Mode, str]] = {}  # the same few again and again
    words = _WORD.findall(text)
    for at, word in enumerate(words):
        first = word[0]
        if first in "{[":
            modes.append(next_mode)
        elif first in "}]":
            modes.pop()
            next_mode = modes[-1]
        elif first == ",":
            next_mode = modes[-1]
        elif first == ":" or first.isspace():
            pass
        elif first == '"' and _is_name(words, at):
            if word not in names:
                name = _decoded(word)
                names[word] = (_mode(name), _string(word, name, mask(name)))
            own, word_out = names[word]
            next_mode = _stricter(modes[-1], own)
            yield word_out
            continue
        else:
            yield _value(word, next_mode, mask)
            continue
        yield word


def _is_name(words: list[str], at: int) -> bool:
    after = at + 1
    while after < len(words) and words[after].isspace():
        after += 1
    return after < len(words) and words[after] == ":"


def _mode(name: str) -> _Mode:
    if IS_SECRET_NAME.search(name):
        return "secret"
    return "amount" if IS_AMOUNT_NAME.match(name) else "plain"


def _stricter(one: _Mode, other: _Mode) -> _Mode:
    if "secret" in {one, other}:
        return "secret"
    return "amount" if "amount" in {one, other} else "plain"


def _value(word: str, mode: _Mode, mask: Callable[[str], str]) -> str:
    if word in {"null", "true", "false", '""'}:
        return word
    text = _decoded(word) if word[0] == '"' else word
    if mode == "secret" or (mode == "amount" and IS_AMOUNT.match(text)):
        return _MASKED
    masked = mask(text)
    if word[0] != '"':
        return word if masked == word else _MASKED
    return _string(word, text, masked)


def _string(word: str, text: str, masked: str) -> str:
    return word if masked == text else json.dumps(masked, ensure_ascii=False)


def _decoded(word: str) -> str:
    return json.loads(word) if "\\" in word else word[1:-1]
