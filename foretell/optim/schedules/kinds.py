"""The learning-rate schedules there are."""

from __future__ import annotations

from typing import Annotated

from foretell.config import Tagged
from foretell.optim.schedules.decays import (
    ConstantConfig,
    CosineConfig,
    HoldConfig,
    LinearConfig,
    NoamConfig,
    PolynomialConfig,
)
from foretell.optim.schedules.drops import PlateauConfig, StepsConfig
from foretell.optim.schedules.waves import CyclicConfig, OneCycleConfig, SlantedConfig

ScheduleChoice = Annotated[
    ConstantConfig
    | LinearConfig
    | PolynomialConfig
    | CosineConfig
    | HoldConfig
    | NoamConfig
    | StepsConfig
    | PlateauConfig
    | CyclicConfig
    | OneCycleConfig
    | SlantedConfig,
    Tagged(),
]
