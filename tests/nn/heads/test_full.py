"""The full softmax behind an output transform."""

import math

import numpy as np
import torch

from foretell.nn.embedding import TokenEmbedding
from foretell.nn.heads.full import FullHeadConfig, TransformConfig

VOCABULARY, WIDTH, NARROW = 9, 5, 3


def test_scores_are_those_of_bert() -> None:
    """decoder . norm(gelu(dense . h)) + bias with the decoder the narrower word vectors, one number at a time."""
    torch.manual_seed(0)
    config = FullHeadConfig(tied=True, transform=TransformConfig(activation="gelu", epsilon=0.1))
    embedding = TokenEmbedding(VOCABULARY, NARROW)
    head = config.build(WIDTH, VOCABULARY, embedding).double()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_()
    weights = {name: tensor.numpy() for name, tensor in head.state_dict().items()}
    hidden = torch.randn(WIDTH, dtype=torch.float64)

    dense = weights["transform.dense.weight"] @ hidden.numpy() + weights["transform.dense.bias"]
    active = np.array([x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in dense])
    normal = (active - active.mean()) / math.sqrt(active.var() + 0.1)
    normal = normal * weights["transform.norm.weight"] + weights["transform.norm.bias"]
    scores = weights["weight"] @ normal + weights["bias"]
    expected = scores - math.log(np.exp(scores).sum())
    np.testing.assert_allclose(head.log_probs(hidden).detach().numpy(), expected, rtol=0, atol=1e-12)
    assert head.weight is embedding.weight


def test_untied_it_keeps_the_width() -> None:
    head = FullHeadConfig(transform=TransformConfig()).build(WIDTH, VOCABULARY, None)
    assert {name: tuple(p.shape) for name, p in head.named_parameters()} == {
        "weight": (VOCABULARY, WIDTH),
        "bias": (VOCABULARY,),
        "transform.dense.weight": (WIDTH, WIDTH),
        "transform.dense.bias": (WIDTH,),
        "transform.norm.weight": (WIDTH,),
        "transform.norm.bias": (WIDTH,),
    }
