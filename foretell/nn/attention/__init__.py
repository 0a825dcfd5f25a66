"""Attention, its masks, caches and positions."""
