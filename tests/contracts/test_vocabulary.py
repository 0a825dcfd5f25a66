"""Every model and head says which of its tensors have a row for each token, so that the vocabulary can change."""

from collections.abc import Iterator

import pytest
import torch
from builders import assert_same, members, name_of, ragged_batch, small, small_models
from outside import CosineHeadConfig, PairsConfig

from foretell.config import Config
from foretell.errors import ConfigError
from foretell.models.kinds import BackboneChoice
from foretell.models.model_spec import ModelSpec
from foretell.nn.embedding import AdaptiveEmbeddingConfig
from foretell.nn.heads import AdaptiveHeadConfig, HeadChoice, HierarchicalHeadConfig
from foretell.nn.vocabulary import token_rows
from foretell.nn.vocabulary_transfer import NEW, Matching, carry_over
from foretell.objectives.causal import CausalConfig
from foretell.objectives.objective import Objective
from foretell.training.state_dict import load_weights, weights
from foretell.types import Inputs

VOCABULARY = 12
MODELS = [*small_models(BackboneChoice), PairsConfig()]


def heads() -> Iterator[Config]:
    """Every head that can go on with another vocabulary, tied and not; bands that neighbours below share."""
    for member in members(HeadChoice):
        if member is not HierarchicalHeadConfig:
            cutoffs = {"cutoffs": (4, 9)} if "cutoffs" in member.model_fields else {}
            yield small(member, **cutoffs)
            if "tied" in member.model_fields:
                yield small(member, tied=True, **cutoffs)
    yield CosineHeadConfig()


HEADS = list(heads())


def fit(model: Config, head: Config) -> bool:
    """Of adaptive word vectors only an adaptive head can use the weights."""
    adaptive = isinstance(getattr(model, "embedding", None), AdaptiveEmbeddingConfig)
    return not adaptive or not getattr(head, "tied", False) or isinstance(head, AdaptiveHeadConfig)


def config_name(config: Config) -> str:
    return name_of(config) + ("-tied" if getattr(config, "tied", False) else "")


def pairs() -> Iterator[tuple[Config, Config]]:
    """Every head on every kind of embedding, and every model with a head that is tied and with one that is not.

    Which tensors have rows for tokens is a matter of embedding and head; what is between them has none.
    """
    seen = []
    for place, model in enumerate(MODELS):
        fitting = [head for head in HEADS if fit(model, head)]
        kind = (type(model), type(getattr(model, "embedding", None)))
        if kind not in seen:
            seen.append(kind)
            yield from ((model, head) for head in fitting)
            continue
        for tied in (False, True):
            alike = [head for head in fitting if getattr(head, "tied", False) is tied]
            yield model, alike[place % len(alike)]


every_pair = pytest.mark.parametrize(
    ("model", "head"),
    list(pairs()),
    ids=config_name,
)


def build(model: Config, head: Config, vocabulary: int, seed: int) -> Objective:
    torch.manual_seed(seed)
    if getattr(head, "tied", False) and "hidden" in type(model).model_fields:
        width = model.model_dump().get("embedding_dim", model.hidden)  # of the table, where it has one of its own
        model = model.model_copy(update={"hidden": width})
    objective = CausalConfig().build(ModelSpec(model, head, vocabulary))
    with torch.no_grad():
        for parameter in objective.double().parameters():  # biases start at zero: not here
            parameter.normal_()
    return objective.eval()


def moved(model: Config, head: Config, origin: list[int], gone: int = 0) -> tuple[Objective, Objective]:
    """A model, and what becomes of it when each token's origin in its vocabulary is this."""
    old, new = build(model, head, VOCABULARY, seed=1), build(model, head, len(origin), seed=2)
    load_weights(new, carry_over(weights(old), token_rows(old), token_rows(new), Matching(torch.tensor(origin), gone)))
    return old, new


@every_pair
def test_it_names_exactly_the_tensors_that_grow_with_the_vocabulary(model: Config, head: Config) -> None:
    small, large = (build(model, head, vocabulary, seed=0) for vocabulary in (VOCABULARY, VOCABULARY + 3))
    shapes = {name: tensor.shape for name, tensor in weights(small).items()}
    grown = {name for name, tensor in weights(large).items() if tensor.shape != shapes[name]}
    named = token_rows(small)
    assert grown <= named.keys()
    for name in named.keys() & shapes.keys():  # a tied weight is known by the embedding's name too
        assert len(named[name]) <= shapes[name][0]
        assert name in grown or "tables" in name  # of bands only the last one grows
    covered = [token for name in named if name.startswith("backbone.") for token in named[name]]
    assert sorted(set(covered)) == list(range(VOCABULARY))


@every_pair
def test_tokens_in_another_order_are_predicted_the_same(model: Config, head: Config) -> None:
    """Neighbours change places: that stays inside any cluster a head may have."""
    origin = [1, 0, *range(2, VOCABULARY - 2), VOCABULARY - 1, VOCABULARY - 2]
    old, new = moved(model, head, origin)
    tokens = ragged_batch(VOCABULARY).inputs.tokens
    renamed = torch.tensor(origin)[tokens]  # the order is its own inverse
    expected = old.head.log_probs(old.backbone(Inputs(tokens=tokens), None).last)
    given = new.head.log_probs(new.backbone(Inputs(tokens=renamed), None).last)
    assert_same(given[..., origin], expected.detach(), 1e-12)


@pytest.mark.parametrize(
    ("model", "head"),
    [pair for pair in pairs() if not isinstance(getattr(pair[0], "embedding", None), AdaptiveEmbeddingConfig)],
    ids=config_name,
)
def test_new_tokens_begin_at_the_mean_and_others_are_gone(model: Config, head: Config) -> None:
    """Adaptive vectors have rows in several tensors: see below."""
    origin = [NEW, 3, 0, NEW, *range(5, VOCABULARY), NEW]
    old, new = moved(model, head, origin, gone=3)
    before, after = old.backbone.embedding.weight.detach(), new.backbone.embedding.weight.detach()
    for token, its in enumerate(origin):
        assert_same(after[token], before.mean(0) if its == NEW else before[its], 1e-12)
    others = weights(old).keys() - token_rows(old).keys()
    assert_same({name: weights(new)[name] for name in others}, {name: weights(old)[name] for name in others})


@pytest.mark.parametrize("tree", ["huffman", "classes"])
def test_a_tree_is_of_no_use_to_another_vocabulary(tree: str) -> None:
    head = HierarchicalHeadConfig(tree=tree).build(6, VOCABULARY, None)
    with pytest.raises(ConfigError, match="made for its vocabulary"):
        token_rows(head)


def test_rows_that_are_no_tokens_stay_and_tokens_change_their_cluster_as_new_ones() -> None:
    """By hand: an adaptive head whose first tensor has tokens 0 to 2 and a cluster, the second tokens 3 and 4."""
    first, second = torch.tensor([[0.0], [1.0], [5.0], [99.0]]), torch.tensor([[30.0], [40.0]])
    had = {"first": range(3), "second": range(3, 5)}
    has = {"first": [0, 1], "second": [2, 3, 4, 5]}
    matching = Matching(torch.tensor([2, 3, 4, 0, NEW, 3]), gone=1)
    found = carry_over({"first": first, "second": second, "bias": first}, had, has, matching)
    assert_same(found["first"], torch.tensor([[5.0], [2.0], [99.0]]))
    assert_same(found["second"], torch.tensor([[40.0], [35.0], [35.0], [30.0]]))
    assert_same(found["bias"], first)
