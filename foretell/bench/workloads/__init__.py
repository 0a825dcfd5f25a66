"""Workloads of `foretell bench`, with our implementation and those of peers.

These modules import the standard library only: a peer runs in a process, and possibly an environment, without
foretell's dependencies.
"""
