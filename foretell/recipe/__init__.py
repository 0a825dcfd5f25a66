"""Recipes: their settings, how they are found and read, and what fits together."""
