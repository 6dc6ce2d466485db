"""What one account has: exact, and never below zero."""

from __future__ import annotations

import decimal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

# A product of two amounts and a fee has fewer digits, so nothing is ever rounded in it.
EXACT = decimal.Context(prec=200, rounding=decimal.ROUND_DOWN)

_ZERO = Decimal(0)
_AVERAGE_STEP = Decimal("0.00000001")


class InsufficientFunds(Exception):
    """There is less than was to be locked.

    Attributes:
      currency: Of what.
    """

    def __init__(self, currency: str) -> None:
        super().__init__(f"not enough {currency}")
        self.currency = currency


@dataclass(slots=True)
class Holding:
    """What there is of one currency.

    Attributes:
      free: What can be used.
      locked: What open orders hold.
      average: What one cost on average, in won; 0 if not known.
    """

    free: Decimal = _ZERO
    locked: Decimal = _ZERO
    average: Decimal = _ZERO


class Ledger:
    """The holdings of one account.

    Args:
      balances: What it begins with, by currency, as text.

    Raises:
      ValueError: An amount is no number, or below zero.
    """

    def __init__(self, balances: Mapping[str, str]) -> None:
        self._holdings: dict[str, Holding] = {}
        for currency, text in balances.items():
            try:
                amount = Decimal(text)
            except decimal.InvalidOperation:
                amount = Decimal(-1)
            if not (amount.is_finite() and amount >= 0):
                raise ValueError(f"balance of {currency} must be a number from 0 on, was {text!r}")
            self._holdings[currency] = Holding(amount)

    def of(self, currency: str) -> Holding:
        """Return what there is of a currency; to be read, not written."""
        return self._holdings.setdefault(currency, Holding())

    def __iter__(self) -> Iterator[tuple[str, Holding]]:
        """Return the currencies of which there is something."""
        return ((name, held) for name, held in self._holdings.items() if held.free or held.locked)

    def lock(self, currency: str, amount: Decimal) -> None:
        """Put `amount` aside.

        Raises:
          InsufficientFunds: There is less; nothing was put aside.
        """
        held = self.of(currency)
        if held.free < amount:
            raise InsufficientFunds(currency)
        held.free -= amount
        held.locked += amount

    def unlock(self, currency: str, amount: Decimal) -> None:
        """Give back what was put aside."""
        held = self.of(currency)
        held.locked -= amount
        held.free += amount

    def spend(self, currency: str, amount: Decimal) -> None:
        """Give away of what was put aside."""
        self.of(currency).locked -= amount

    def receive(self, currency: str, amount: Decimal, *, cost: Decimal | None = None) -> None:
        """Take `amount` in.

        Args:
          currency: Of what.
          amount: How much.
          cost: What it cost in won, if it was bought with them.
        """
        held = self.of(currency)
        before = held.free + held.locked
        held.free += amount
        if cost is not None and before + amount:
            average = (before * held.average + cost) / (before + amount)
            held.average = average.quantize(_AVERAGE_STEP, rounding=decimal.ROUND_HALF_EVEN)


def written(amount: Decimal) -> str:
    """Return an amount as text: all its digits, no exponent, no zeros at its end."""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
