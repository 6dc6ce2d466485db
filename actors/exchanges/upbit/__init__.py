"""Upbit, the Korean exchange: its questions, bodies and rules."""
