"""The kinds of recurrent cells."""

from __future__ import annotations

from typing import Annotated

from foretell.config import Tagged
from foretell.nn.recurrent.lstm import GRUConfig, LSTMConfig, RNNConfig
from foretell.nn.recurrent.mlstm import MLSTMConfig
from foretell.nn.recurrent.qrnn import QRNNConfig

CellChoice = Annotated[LSTMConfig | GRUConfig | RNNConfig | MLSTMConfig | QRNNConfig, Tagged()]
