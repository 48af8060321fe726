"""A run's tables in SQL: of the working tree, of any git revision, of DVC's experiments. Nothing here writes."""

from metareward.query.connection import connect

__all__ = ["connect"]
