"""Optimisers, averaging and schedules."""
