"""Supervised actors on trio: a library of its own, with nothing about markets in it."""
