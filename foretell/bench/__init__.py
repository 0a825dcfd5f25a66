"""Benchmarks against other libraries."""
