"""Fixed pieces of work for `foretell bench`, ours and peers' side by side.

Nothing but the standard library is imported when these modules are: a peer runs in a process, and if need be in an
environment, that has nothing of ours in it.
"""
