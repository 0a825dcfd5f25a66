"""Numerical kernels, each with a readable reference; they do not depend on any model."""
