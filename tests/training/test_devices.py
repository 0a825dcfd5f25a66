"""A device is there, or refused with those that are."""

import pytest

from foretell.errors import ConfigError
from foretell.training.devices import device_of


def test_a_device_is_there_or_refused() -> None:
    assert str(device_of("cpu")) == "cpu"
    assert device_of(None) == device_of("")
    for name in ("lstm", "cuda:77", "meta", "cpu:x", "\x1b"):
        with pytest.raises(ConfigError, match="choose among cpu"):
            device_of(name)
