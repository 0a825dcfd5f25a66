"""The Transformer beside BERT and ALBERT of transformers with the same weights; runs where that is installed."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from builders import assert_same
from torch import Tensor, nn

from foretell.models.transformer import Transformer, TransformerConfig
from foretell.nn.heads.full import FullHead, FullHeadConfig, TransformConfig
from foretell.types import Inputs

SIZES: dict[str, Any] = {"vocab_size": 50, "hidden_size": 24, "intermediate_size": 40, "max_position_embeddings": 16}
SIZES |= {"num_hidden_layers": 3, "num_attention_heads": 4, "layer_norm_eps": 1e-12}
OURS: dict[str, Any] = {"direction": "both", "hidden": 24, "layers": 3, "heads": 4, "feed_forward": 40, "context": 16}
OURS |= {"norm": {"kind": "post", "epsilon": 1e-12, "embedding": True}, "segments": 2}
LENGTHS = torch.tensor([16, 9, 1, 12])


@pytest.fixture
def transformers() -> Iterator[Any]:
    """In float64."""
    yield pytest.importorskip("transformers")


def put(ours: nn.Module, *theirs: nn.Module) -> None:
    """Weights and biases of one layer, or of several joined, as ours."""
    for name, parameter in ours.named_parameters(recurse=False):
        parameter.data = torch.cat([getattr(layer, name).data for layer in theirs])


def randomise(module: nn.Module) -> None:
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    module.double().eval()


def built(**settings: Any) -> tuple[Transformer, FullHead]:
    model = TransformerConfig.model_validate(OURS | settings).build(SIZES["vocab_size"]).double().eval()
    activation = settings.get("activation", "gelu")
    transform = TransformConfig(activation=activation, epsilon=1e-12)
    head = FullHeadConfig(tied=True, transform=transform).build(24, SIZES["vocab_size"], model.embedding)
    return model, head.double()


def put_embeddings(model: Transformer, theirs: Any) -> None:
    model.embedding.table.weight.data = theirs.word_embeddings.weight.data
    model.positions.weight.data = theirs.position_embeddings.weight.data
    put(model.segments, theirs.token_type_embeddings)
    put(model.embedding_norm, theirs.LayerNorm)


def agree(model: Transformer, head: FullHead, theirs: nn.Module) -> None:
    """On rows of different lengths with two segments."""
    tokens, segments = torch.randint(50, (4, 16)), torch.randint(2, (4, 16))
    real = torch.arange(16) < LENGTHS[:, None]
    with torch.no_grad():
        scores: Tensor = theirs(input_ids=tokens, attention_mask=real.long(), token_type_ids=segments).logits
        last = model(Inputs(tokens=tokens, segments=segments, lengths=LENGTHS), None).last
    assert_same(head.log_probs(last)[real], scores.log_softmax(-1)[real], 1e-11)


@pytest.mark.filterwarnings("ignore")
def test_it_is_bert(transformers: Any) -> None:
    theirs = transformers.BertForMaskedLM(transformers.BertConfig(**SIZES))
    randomise(theirs)
    model, head = built()
    put_embeddings(model, theirs.bert.embeddings)
    for block, layer in zip(model.blocks, theirs.bert.encoder.layer, strict=True):
        looking = layer.attention.self
        put(block.attention.qkv, looking.query, looking.key, looking.value)
        put(block.attention.out, layer.attention.output.dense)
        put(block.attention_norm, layer.attention.output.LayerNorm)
        put(block.feed_forward.inner, layer.intermediate.dense)
        put(block.feed_forward.out, layer.output.dense)
        put(block.feed_forward_norm, layer.output.LayerNorm)
    put(head.transform.dense, theirs.cls.predictions.transform.dense)
    put(head.transform.norm, theirs.cls.predictions.transform.LayerNorm)
    head.bias.data, head.weight = theirs.cls.predictions.bias.data, model.embedding.weight
    agree(model, head, theirs)


@pytest.mark.filterwarnings("ignore")
def test_it_is_albert(transformers: Any) -> None:
    config = transformers.AlbertConfig(**SIZES, embedding_size=8, hidden_act="gelu_new")
    theirs = transformers.AlbertForMaskedLM(config)
    randomise(theirs)
    model, head = built(embedding_dim=8, groups=1, activation="gelu_tanh")
    put_embeddings(model, theirs.albert.embeddings)
    put(model.projection, theirs.albert.encoder.embedding_hidden_mapping_in)
    block, layer = model.blocks[0], theirs.albert.encoder.albert_layer_groups[0].albert_layers[0]
    put(block.attention.qkv, layer.attention.query, layer.attention.key, layer.attention.value)
    put(block.attention.out, layer.attention.dense)
    put(block.attention_norm, layer.attention.LayerNorm)
    put(block.feed_forward.inner, layer.ffn)
    put(block.feed_forward.out, layer.ffn_output)
    put(block.feed_forward_norm, layer.full_layer_layer_norm)
    put(head.transform.dense, theirs.predictions.dense)
    put(head.transform.norm, theirs.predictions.LayerNorm)
    head.bias.data, head.weight = theirs.predictions.bias.data, model.embedding.weight
    agree(model, head, theirs)
