"""All workloads by name."""

from __future__ import annotations

from foretell.bench.workloads.awd_lstm import AWD_LSTM_STEP
from foretell.bench.workloads.bert import BERT_STEP, ELECTRA_STEP
from foretell.bench.workloads.features import FEATURES
from foretell.bench.workloads.fine_tuning import FINETUNE_STEP, PREDICT
from foretell.bench.workloads.floors import FLOORS
from foretell.bench.workloads.generation import GENERATING
from foretell.bench.workloads.gpt import GPT_STEPS, TRAINER
from foretell.bench.workloads.mlstm import MLSTM_STEPS
from foretell.bench.workloads.ngram import NGRAM
from foretell.bench.workloads.preparation import PREPARE
from foretell.bench.workloads.qrnn import QRNN_LAYERS, SCAN
from foretell.bench.workloads.shakespeare import SHAKESPEARE
from foretell.bench.workloads.softmax import SOFTMAX

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
