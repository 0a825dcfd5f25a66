"""Measuring: scorers, metrics, generation."""
