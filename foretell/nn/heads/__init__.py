"""Output heads and their kinds."""

from __future__ import annotations

from typing import Annotated

from foretell.config import Tagged
from foretell.nn.heads.adaptive import AdaptiveHead, AdaptiveHeadConfig
from foretell.nn.heads.full import FullHead, FullHeadConfig
from foretell.nn.heads.head import Head, NoHead
from foretell.nn.heads.hierarchical import HierarchicalHeadConfig
from foretell.nn.heads.mixture import MixtureHead, MixtureHeadConfig
from foretell.nn.heads.sampled import SampledHead, SampledHeadConfig

__all__ = [
    "AdaptiveHead",
    "AdaptiveHeadConfig",
    "FullHead",
    "FullHeadConfig",
    "Head",
    "HeadChoice",
    "HierarchicalHeadConfig",
    "MixtureHead",
    "MixtureHeadConfig",
    "NoHead",
    "SampledHead",
    "SampledHeadConfig",
]

HeadChoice = Annotated[
    FullHeadConfig | AdaptiveHeadConfig | HierarchicalHeadConfig | MixtureHeadConfig | SampledHeadConfig, Tagged()
]
