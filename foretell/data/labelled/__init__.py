"""Labelled examples: reading, splitting, framing as rows."""
