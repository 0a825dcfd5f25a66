"""Replaced-token detection: ELECTRA."""
