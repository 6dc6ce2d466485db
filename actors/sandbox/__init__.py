"""A local exchange that speaks Upbit's wire formats and keeps its rules."""
