"""transformers, where it is installed."""

from types import ModuleType

import pytest
from hugging_face import transformers_installed


@pytest.fixture(scope="module")
def transformers() -> ModuleType:
    return transformers_installed()
