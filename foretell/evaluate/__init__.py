"""Evaluation: scoring text, task metrics, generation, features, adaptation, comparison."""
