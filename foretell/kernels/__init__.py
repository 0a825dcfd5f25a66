"""Numerical kernels: a readable reference and fast versions behind one function. Nothing here knows a model."""
