"""Exchanges: what an adapter is, the gate every request passes, and a folder for each exchange."""
