"""Upbit: its numbers in `limits`, its bodies in `payloads`, its questions in `adapter`."""
