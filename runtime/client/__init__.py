"""Clients of the runtime: blocking, on trio, and in the same process, with the same methods."""
