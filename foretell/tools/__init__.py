"""Implementations of the commands, in packages named as the panels of the command line."""
