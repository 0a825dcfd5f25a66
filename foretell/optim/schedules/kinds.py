"""The kinds of learning-rate schedules."""

from __future__ import annotations

from typing import Annotated

from foretell.config import Tagged
from foretell.optim.schedules.constant import ConstantConfig
from foretell.optim.schedules.cosine import CosineConfig
from foretell.optim.schedules.cyclic import CyclicConfig
from foretell.optim.schedules.noam import NoamConfig
from foretell.optim.schedules.one_cycle import OneCycleConfig
from foretell.optim.schedules.plateau import PlateauConfig
from foretell.optim.schedules.polynomial import LinearConfig, PolynomialConfig
from foretell.optim.schedules.slanted_triangular import SlantedTriangularConfig
from foretell.optim.schedules.step import StepsConfig
from foretell.optim.schedules.wsd import WSDConfig

ScheduleChoice = Annotated[
    ConstantConfig
    | LinearConfig
    | PolynomialConfig
    | CosineConfig
    | WSDConfig
    | NoamConfig
    | StepsConfig
    | PlateauConfig
    | CyclicConfig
    | OneCycleConfig
    | SlantedTriangularConfig,
    Tagged(),
]
