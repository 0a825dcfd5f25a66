"""Token stores: a corpus as memory-mapped ids."""
