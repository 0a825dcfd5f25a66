"""Published models have exactly the parameters they were published with."""

from typing import Any

import pytest
import torch

from foretell.recipe.loading import load_recipe

# Vocabulary, and parameters as its checkpoint in the Hugging Face hub has them: those of the class that pre-trains.
SIZES = {
    "gpt": (40_478, 116_534_784),
    "gpt2-124m": (50_257, 124_439_808),
    "gpt2-355m": (50_257, 354_823_168),
    "gpt2-774m": (50_257, 774_030_080),
    "gpt2-1558m": (50_257, 1_557_611_200),
    "bert-base": (30_522, 110_106_428),
    "bert-large": (30_522, 336_226_108),
    "roberta-base": (50_265, 124_697_433),
    "albert-base": (30_000, 11_813_810),
    "albert-large": (30_000, 17_847_474),
    "albert-xlarge": (30_000, 59_021_490),
    "albert-xxlarge": (30_000, 223_158_450),
}
# Class of `transformers`, vocabulary, layers, heads, width: its code knows nothing of ours.
CLASSES: dict[str, tuple[str, int, int, int, int]] = {
    "bert-tiny": ("Bert", 30_522, 2, 2, 128),
    "bert-mini": ("Bert", 30_522, 4, 4, 256),
    "bert-small": ("Bert", 30_522, 4, 8, 512),
    "bert-medium": ("Bert", 30_522, 8, 8, 512),
    "bert-base": ("Bert", 30_522, 12, 12, 768),
    "bert-large": ("Bert", 30_522, 24, 16, 1024),
    "albert-xlarge": ("Albert", 30_000, 24, 16, 2048),
    "megatron-bert-336m": ("MegatronBert", 29_056, 24, 16, 1024),
    "megatron-bert-1.3b": ("MegatronBert", 29_056, 24, 32, 2048),
    "megatron-bert-3.9b": ("MegatronBert", 29_056, 48, 40, 2560),
}


def parameters(name: str, vocabulary: int) -> int:
    with torch.device("meta"):
        objective = load_recipe(name).resolved_stages()[0][1].build(vocabulary)
    return sum(parameter.numel() for parameter in objective.parameters())


@pytest.mark.parametrize("name", SIZES)
def test_as_published(name: str) -> None:
    vocabulary, expected = SIZES[name]
    assert parameters(name, vocabulary) == expected


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CLASSES)
def test_as_in_transformers(name: str) -> None:
    transformers = pytest.importorskip("transformers")
    family, vocabulary, layers, heads, width = CLASSES[name]
    sizes: dict[str, Any] = dict(
        vocab_size=vocabulary,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        hidden_size=width,
        intermediate_size=4 * width,
        max_position_embeddings=512,
    )
    with torch.device("meta"):
        theirs = getattr(transformers, f"{family}ForPreTraining")(getattr(transformers, f"{family}Config")(**sizes))
    assert parameters(name, vocabulary) == theirs.num_parameters()


def test_a_bert_is_the_sum_of_its_parts() -> None:
    """Recomputed from the paper: what a width, a depth, a vocabulary and 512 places make."""
    width, layers, vocabulary = 768, 12, 30_522
    block = 4 * (width * width + width) + 2 * 4 * width * width + 4 * width + width + 4 * width
    embeddings = (vocabulary + 512 + 2) * width + 2 * width
    transform = width * width + width + 2 * width
    pooler, pairs = width * width + width, 2 * width + 2
    assert SIZES["bert-base"][1] == embeddings + layers * block + transform + vocabulary + pooler + pairs
