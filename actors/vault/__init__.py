"""Sealing: how keys are kept so that a file alone opens nothing. Plain code, no trio, no files."""
