"""Scheduled collection without its actor: jobs, their times, their records, one run."""
