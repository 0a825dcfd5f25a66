"""Checkpoints of transformers with random weights, to test with: all that the Hugging Face tests have in common."""

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

import foretell
from foretell.objectives.electra.objective import Replaced
from foretell.tools.use.convert import import_path
from foretell.types import Inputs

VOCABULARY = 60
GPT_SIZES = {"vocab_size": VOCABULARY, "n_positions": 16, "n_embd": 24, "n_layer": 2, "n_head": 4}
GPT_SIZES |= {"bos_token_id": 5, "eos_token_id": 5}
BERT_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 24,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 16,
}
LLAMA_SIZES = {**BERT_SIZES, "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-3}
LLAMA_SIZES |= {"bos_token_id": 5, "eos_token_id": 5, "rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}
LLAMA3_POSITIONS = {
    "rope_theta": 500.0,
    "rope_type": "llama3",
    "factor": 4.0,
    "low_freq_factor": 0.1,
    "high_freq_factor": 1.5,
    "original_max_position_embeddings": 12,
}  # its frequencies make 1.9, 0.2 and 0.03 turns in the original context: kept, between the two, and divided
ROBERTA_SIZES = {**BERT_SIZES, "max_position_embeddings": 18, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
MINI: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gpt2": ("GPT2Config", "GPT2LMHeadModel", GPT_SIZES),
    "gpt2-inner-relu": ("GPT2Config", "GPT2LMHeadModel", {**GPT_SIZES, "n_inner": 40, "activation_function": "relu"}),
    "gpt2-untied": ("GPT2Config", "GPT2LMHeadModel", {**GPT_SIZES, "tie_word_embeddings": False}),
    "openai-gpt": ("OpenAIGPTConfig", "OpenAIGPTLMHeadModel", GPT_SIZES),
    "llama": ("LlamaConfig", "LlamaForCausalLM", LLAMA_SIZES),
    "llama-one-key": ("LlamaConfig", "LlamaForCausalLM", {**LLAMA_SIZES, "num_key_value_heads": 1}),
    "llama-all-tied": (
        "LlamaConfig",
        "LlamaForCausalLM",
        {**LLAMA_SIZES, "num_key_value_heads": 4, "tie_word_embeddings": True},
    ),
    "llama-scaled": ("LlamaConfig", "LlamaForCausalLM", {**LLAMA_SIZES, "rope_parameters": LLAMA3_POSITIONS}),
    "mistral-scaled": (
        "MistralConfig",
        "MistralForCausalLM",
        {
            **LLAMA_SIZES,
            "sliding_window": None,
            "rope_parameters": {"rope_theta": 500.0, "rope_type": "linear", "factor": 4.0},
        },
    ),
    "mistral-wide-heads": (
        "MistralConfig",
        "MistralForCausalLM",
        {**LLAMA_SIZES, "num_attention_heads": 10, "num_key_value_heads": 2, "head_dim": 6, "sliding_window": None},
    ),
    "mistral": ("MistralConfig", "MistralForCausalLM", {**LLAMA_SIZES, "sliding_window": None}),
    "bert": ("BertConfig", "BertForMaskedLM", {**BERT_SIZES, "hidden_act": "gelu_new", "layer_norm_eps": 1e-3}),
    "bert-nsp": ("BertConfig", "BertForPreTraining", BERT_SIZES),
    "roberta": ("RobertaConfig", "RobertaForMaskedLM", ROBERTA_SIZES),
    "xlm-roberta": ("XLMRobertaConfig", "XLMRobertaForMaskedLM", ROBERTA_SIZES),
    "camembert": ("CamembertConfig", "CamembertForMaskedLM", ROBERTA_SIZES),
    "albert": ("AlbertConfig", "AlbertForMaskedLM", {**BERT_SIZES, "embedding_size": 12}),
    "albert-groups": (
        "AlbertConfig",
        "AlbertForMaskedLM",
        {**BERT_SIZES, "embedding_size": 24, "num_hidden_groups": 2},
    ),
    "albert-sop": ("AlbertConfig", "AlbertForPreTraining", {**BERT_SIZES, "embedding_size": 12}),
    "electra-generator": ("ElectraConfig", "ElectraForMaskedLM", {**BERT_SIZES, "embedding_size": 12}),
    "electra-generator-wide": ("ElectraConfig", "ElectraForMaskedLM", {**BERT_SIZES, "embedding_size": 24}),
    "electra": ("ElectraConfig", "ElectraForPreTraining", {**BERT_SIZES, "embedding_size": 12, "hidden_act": "relu"}),
    "electra-wide": ("ElectraConfig", "ElectraForPreTraining", {**BERT_SIZES, "embedding_size": 24}),
    "megatron-bert": ("MegatronBertConfig", "MegatronBertForMaskedLM", BERT_SIZES),
    "megatron-bert-nsp": ("MegatronBertConfig", "MegatronBertForPreTraining", BERT_SIZES),
}
"""by name their config class, their model class, and its sizes"""
BASE: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gpt2": ("GPT2Config", "GPT2LMHeadModel", {}),
    "openai-gpt": ("OpenAIGPTConfig", "OpenAIGPTLMHeadModel", {}),
    "bert": ("BertConfig", "BertForPreTraining", {}),
    "roberta": (
        "RobertaConfig",
        "RobertaForMaskedLM",
        {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5},
    ),
    "albert": (
        "AlbertConfig",
        "AlbertForPreTraining",
        {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
    ),
    "electra": ("ElectraConfig", "ElectraForPreTraining", {}),
    "megatron-bert": ("MegatronBertConfig", "MegatronBertForMaskedLM", {"num_hidden_layers": 4}),
}
"""the published sizes; of Megatron-BERT fewer layers, as it has no small one"""


@contextlib.contextmanager
def unwarned() -> Iterator[None]:
    """Their deprecations are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def transformers_installed() -> ModuleType:
    """The package, quiet and without the network; the test is skipped where it is not installed."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    with unwarned():
        transformers: ModuleType = pytest.importorskip("transformers")
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
    return transformers


def checkpoint(transformers: ModuleType, folder: Path, case: tuple[str, str, dict[str, Any]], std: float = 0.3) -> Any:
    """A model of theirs with random weights, norms and biases too, saved in a folder."""
    config, model, sizes = case
    torch.manual_seed(1)
    with unwarned():
        theirs = getattr(transformers, model)(getattr(transformers, config)(**sizes)).eval()
        for parameter in theirs.parameters():
            torch.nn.init.normal_(parameter, std=std)
        theirs.save_pretrained(folder)
    return theirs


def rows(config: Any, *, padded: bool, steps: int = 16) -> tuple[Inputs, dict[str, Tensor], Tensor]:
    """Three rows of random tokens as our inputs and as theirs, and which tokens [B, T] are real."""
    random = torch.Generator().manual_seed(2)
    lengths = torch.tensor([steps, steps - 5, 3]) if padded else torch.full((3,), steps)
    real = torch.arange(steps) < lengths[:, None]
    tokens = torch.randint(6, config.vocab_size, (3, steps), generator=random)
    tokens = torch.where(real, tokens, config.pad_token_id or 0)
    theirs = {"input_ids": tokens, "attention_mask": real.long()}
    segments = None
    if getattr(config, "type_vocab_size", 0) > 1:
        theirs["token_type_ids"] = segments = torch.randint(2, (3, steps), generator=random)
    return Inputs(tokens=tokens, lengths=lengths if padded else None, segments=segments), theirs, real


@torch.no_grad()
def ours_of(run: foretell.Trained, inputs: Inputs) -> tuple[Tensor, Tensor | None]:
    """Log-probabilities of words [B, T, V], or scores of having been replaced [B, T], and log-probabilities of kinds of
    pairs [B, 2] where there is such a head."""
    objective = run.objective
    last = objective.backbone(inputs, None).last
    if isinstance(objective, Replaced):
        return replaced_scores(objective, last), None
    pair = getattr(objective, "pair", None)
    judged = None if pair is None else pair(objective.pooler(last[:, 0]).tanh()).log_softmax(-1)
    return objective.head.log_probs(last), judged


def replaced_scores(objective: Replaced, last: Tensor) -> Tensor:
    """How sure ELECTRA's main model is that tokens were replaced [B, T]."""
    told = objective.discriminator
    return told.prediction(told.activate(told.dense(last)))[..., 0]


@torch.no_grad()
def theirs_of(model: Any, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
    """The same of a model of theirs."""
    found = model(**inputs)
    pair = found.get("seq_relationship_logits", found.get("sop_logits"))
    words = found.get("logits", found.get("prediction_logits"))
    if type(model).__name__ == "ElectraForPreTraining":
        return words, None
    return words.log_softmax(-1), None if pair is None else pair.log_softmax(-1)


def imported(folder: Path, out: Path, **settings: Any) -> tuple[foretell.Trained, dict[str, Any]]:
    """A folder as a run, and what was said of it."""
    told = import_path(folder, out, "python-docs", settings.get("tokenizer"))
    return foretell.load(out, device="cpu"), told


def trained(out: Path, tokenizer: dict[str, Any], corpus: dict[str, str], *, masked: bool) -> foretell.Trained:
    """A very small model of our own."""
    rest: dict[str, Any] = {"model__direction": "both", "objective": "masked"} if masked else {}
    norm = {"kind": "post", "embedding": True} if masked else {"kind": "pre"}
    return foretell.train(
        {
            "data": {
                "corpus": corpus,
                "tokenizer": tokenizer,
                "batches": {"kind": "full" if masked else "crops", "batch": 4, "length": 16},
            },
            "model": {"kind": "transformer", "hidden": 8, "layers": 1, "heads": 2, "context": 16, "norm": norm},
            "head": {"tied": True, "bias": masked, **({"transform": {}} if masked else {})},
        },
        out,
        limit="2steps",
        quiet=True,
        **rest,
    )
