"""The workloads there are."""

from __future__ import annotations

from foretell.tools.workloads.awd_lstm import AWD_LSTM_STEP
from foretell.tools.workloads.bert import BERT_STEP, ELECTRA_STEP
from foretell.tools.workloads.features import FEATURES
from foretell.tools.workloads.floors import FLOORS
from foretell.tools.workloads.generating import GENERATING
from foretell.tools.workloads.gpt import GPT_STEPS, TRAINER
from foretell.tools.workloads.mlstm import MLSTM_STEPS
from foretell.tools.workloads.ngram import NGRAM
from foretell.tools.workloads.preparing import PREPARE
from foretell.tools.workloads.qrnn import QRNN_LAYERS, SCAN
from foretell.tools.workloads.shakespeare import SHAKESPEARE
from foretell.tools.workloads.softmax import SOFTMAX
from foretell.tools.workloads.tuning import FINETUNE_STEP, PREDICT

WORKLOADS = {
    workload.name: workload
    for workload in (
        FLOORS,
        AWD_LSTM_STEP,
        *QRNN_LAYERS,
        SCAN,
        *MLSTM_STEPS,
        PREPARE,
        NGRAM,
        *SHAKESPEARE,
        SOFTMAX,
        *GPT_STEPS,
        BERT_STEP,
        ELECTRA_STEP,
        TRAINER,
        *GENERATING,
        FEATURES,
        PREDICT,
        FINETUNE_STEP,
    )
}
