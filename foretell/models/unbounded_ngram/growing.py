"""The contexts of a text that grows: a suffix tree of the text read backwards, with Kneser-Ney counts.

The same nodes and counts as in `counting`, built token by token.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from foretell.kernels.suffix_index import LEVELS, Rows, Whole
from foretell.models.unbounded_ngram.counting import LONGEST, inlined, jit

LEAF = 1 << 30
"""length of a context that occurs once"""


class Tree(NamedTuple):
    """A tree; node 0 is the empty context."""

    text: Rows
    """[capacity] tokens"""
    end: Rows
    """[nodes] a place whose context the node's is"""
    length: Rows
    """[nodes] tokens of the context; `LEAF`: it occurs once"""
    parent: Rows
    """[nodes] -1 above the empty context"""
    types: Rows
    """[nodes] different tokens that follow"""
    total: Rows
    """[nodes] sum of the counts"""
    newest: Rows
    """[nodes] the follower added last, in `followers`; -1: none"""
    followers: Rows
    """[followers, 3] token, count, the follower of the same node added before"""
    child_keys: Whole
    """hash table of (node, token before its context)"""
    children: Rows
    """its values: nodes"""
    follower_keys: Whole
    """hash table of (node, token that follows)"""
    places: Rows
    """its values, in `followers`"""
    used: Whole
    """[3] tokens, nodes, followers"""


def seedling(capacity: int) -> Tree:
    """A tree of no text, with room for some."""
    nodes, followers = 2 * capacity + 2, 4 * capacity + 1024
    slots = 1 << (2 * followers).bit_length()
    whole = [np.zeros(nodes, np.int32) for _ in range(4)]
    return Tree(
        text=np.zeros(capacity, np.int32),
        end=whole[0],
        length=whole[1],
        parent=np.full(nodes, -1, np.int32),
        types=whole[2],
        total=whole[3],
        newest=np.full(nodes, -1, np.int32),
        followers=np.zeros((followers, 3), np.int32),
        child_keys=np.full(slots, -1, np.int64),
        children=np.zeros(slots, np.int32),
        follower_keys=np.full(slots, -1, np.int64),
        places=np.zeros(slots, np.int32),
        used=np.array([0, 1, 0]),
    )


def enlarged(tree: Tree) -> Tree:
    """A tree with twice the room."""
    new = seedling(2 * len(tree.text) + 1024)
    for name in ("text", "end", "length", "parent", "types", "total", "newest", "followers", "used"):
        before = getattr(tree, name)
        getattr(new, name)[: len(before)] = before
    _rehash(tree.child_keys, tree.children, new.child_keys, new.children)
    _rehash(tree.follower_keys, tree.places, new.follower_keys, new.places)
    return new


@jit
def _rehash(keys: Whole, values: Rows, new_keys: Whole, new_values: Rows) -> None:
    for k in range(len(keys)):
        if keys[k] != -1:
            at = slot_of(new_keys, keys[k])
            new_keys[at], new_values[at] = keys[k], values[k]


@inlined
def key_of(node: int, token: int) -> int:
    """The key of a node and a token."""
    return (np.int64(node) << 32) | np.int64(token)


@inlined
def slot_of(keys: Whole, key: int) -> int:
    """Where a key is, or a free place for it."""
    mask = len(keys) - 1
    h = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    at = np.int64((h ^ (h >> np.uint64(29))) & np.uint64(mask))
    while keys[at] != -1 and keys[at] != key:
        at = (at + 1) & mask
    return at


@inlined
def child_of(tree: Tree, node: int, token: int) -> int:
    """The node of longer contexts, with a token before this one's; -1: none."""
    at = slot_of(tree.child_keys, key_of(node, token))
    return tree.children[at] if tree.child_keys[at] != -1 else -1


@inlined
def set_child(tree: Tree, node: int, token: int, child: int) -> None:
    """Put a node below another."""
    key = key_of(node, token)
    at = slot_of(tree.child_keys, key)
    tree.child_keys[at] = key
    tree.children[at] = child
    tree.parent[child] = node


@inlined
def walk(tree: Tree, nodes: Whole, lengths: Whole) -> int:
    """Nodes of the contexts of the text, from the empty one to the longest that occurred before, and how many tokens
    they share with it; the last node's context may be longer. Returns their number, at most that of `nodes`."""
    count = tree.used[0]
    nodes[0], lengths[0] = 0, 0
    depth, node, length = 1, 0, 0
    while depth < len(nodes) and length < count and length <= LONGEST:
        child = child_of(tree, node, tree.text[count - 1 - length])
        if child < 0:
            break
        length += 1
        most = min(min(tree.length[child], count), min(tree.end[child], LONGEST + 1))
        while length < most and tree.text[count - 1 - length] == tree.text[tree.end[child] - 1 - length]:
            length += 1
        nodes[depth], lengths[depth] = child, length
        depth += 1
        if length < tree.length[child]:
            break
        node = child
    return depth


@inlined
def count_in(tree: Tree, node: int, token: int) -> int:
    """How often a token follows, in Kneser-Ney counts."""
    if tree.length[node] == LEAF:
        return 1 if tree.text[tree.end[node]] == token else 0
    at = slot_of(tree.follower_keys, key_of(node, token))
    return tree.followers[tree.places[at], 1] if tree.follower_keys[at] != -1 else 0


@inlined
def add(tree: Tree, node: int, token: int) -> bool:
    """Count a token that follows a node; whether it is new there."""
    key = key_of(node, token)
    at = slot_of(tree.follower_keys, key)
    tree.total[node] += 1
    if tree.follower_keys[at] != -1:
        tree.followers[tree.places[at], 1] += 1
        return False
    new = tree.used[2]
    tree.used[2] += 1
    tree.follower_keys[at], tree.places[at] = key, new
    tree.followers[new, 0], tree.followers[new, 1], tree.followers[new, 2] = token, 1, tree.newest[node]
    tree.newest[node] = new
    tree.types[node] += 1
    return True


@inlined
def has_room(tree: Tree, node: int) -> bool:
    """Whether one more token fits, whose context is at this node."""
    followers = tree.used[2] + tree.types[node] + 2 * LEVELS
    return tree.used[0] < len(tree.text) and tree.used[1] + 2 <= len(tree.end) and followers < len(tree.followers)


@inlined
def append(tree: Tree, token: int) -> None:
    """A token that is context only."""
    tree.text[tree.used[0]] = token
    tree.used[0] += 1


@inlined
def new_node(tree: Tree, end: int, length: int) -> int:
    """A node of the context of this length at a place."""
    node = tree.used[1]
    tree.used[1] += 1
    tree.end[node], tree.length[node] = end, length
    return node


@inlined
def grow(tree: Tree, token: int, nodes: Whole, lengths: Whole, depth: int) -> None:
    """Append a token to the text, whose context is at these nodes."""
    count = tree.used[0]
    node, length = nodes[depth - 1], lengths[depth - 1]
    append(tree, token)
    if depth == len(nodes) or length > LONGEST:
        return  # a context like one before, as far as contexts go
    if length < tree.length[node]:  # inside of an edge: a new node, with the followers of the one below
        below, above = node, tree.parent[node]
        node = new_node(tree, count, length)
        set_child(tree, above, tree.text[count - 1 - lengths[depth - 2]], node)
        end = tree.end[below]
        if length < end:
            set_child(tree, node, tree.text[end - 1 - length], below)
        if tree.length[below] == LEAF:
            add(tree, node, tree.text[end])
        else:
            follower = tree.newest[below]
            while follower >= 0:
                add(tree, node, tree.followers[follower, 0])
                follower = tree.followers[follower, 2]
    if length < count:
        leaf = new_node(tree, count, LEAF)
        tree.types[leaf] = tree.total[leaf] = 1
        set_child(tree, node, tree.text[count - 1 - length], leaf)
    while node >= 0 and add(tree, node, token):
        node = tree.parent[node]
