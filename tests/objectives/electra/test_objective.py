"""ELECTRA: two models trained at once, samples between them, and what is told of which tokens."""

import json
import math
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from builders import assert_same, outcome, replacing, trainer_of
from torch import Tensor, nn

import foretell
from foretell import config
from foretell.data.batches.masking import Draws, places_of
from foretell.errors import ConfigError
from foretell.models.model_spec import ModelSpec
from foretell.models.transformer import TransformerConfig
from foretell.nn.heads import FullHeadConfig
from foretell.objectives.electra.discriminators import originals
from foretell.objectives.electra.objective import GROUP, Replaced, ReplacedConfig, sample, written
from foretell.run import Run
from foretell.tools.look import doctor_run
from foretell.training import checkpoint
from foretell.types import Batch, Inputs

VOCABULARY = 11
TINY = {"direction": "both", "hidden": 8, "layers": 2, "heads": 2, "context": 8, "segments": 2}
HEAD = {"tied": True, "transform": {}}


def compose(model: dict[str, Any] | None = None, vocabulary: int = VOCABULARY, **settings: Any) -> Replaced:
    torch.manual_seed(0)
    norm = {"kind": "post", "embedding": True, "final": False, "epsilon": 1e-12}
    body = config.validate(TransformerConfig, {"norm": norm, "activation": "gelu"} | TINY | (model or {}), "model")
    head = config.validate(FullHeadConfig, HEAD, "head")
    return config.validate(ReplacedConfig, settings, "objective").build(ModelSpec(body, head, vocabulary))


def masked_batch(lengths: tuple[int, ...] = (8, 3, 6, 5)) -> Batch:
    """Rows of different lengths, a third of whose tokens are hidden behind token 1 but for every seventh."""
    random = torch.Generator().manual_seed(3)
    shape = (len(lengths), max(lengths))
    tokens = torch.randint(2, VOCABULARY, shape, generator=random)
    real = torch.arange(shape[1]) < torch.tensor(lengths)[:, None]
    chosen = (torch.rand(shape, generator=random) < 0.35) & real
    hidden = torch.where(chosen & (torch.arange(shape[1]) % 7 > 0), 1, tokens.masked_fill(~real, 0))
    return Batch(
        inputs=Inputs(tokens=hidden, lengths=torch.tensor(lengths)),
        targets=tokens.masked_fill(~chosen, -100),
        noise=torch.rand(shape, generator=random, dtype=torch.float64),
    )


def unique(*modules: nn.Module) -> int:
    return sum(p.numel() for p in {p for module in modules for p in module.parameters()})


# --- the models -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "share", "discriminator", "generator"),
    [  # counts of transformers' ElectraForPreTraining and ElectraForMaskedLM
        ({"hidden": 256, "heads": 4, "embedding_dim": 128}, 0.25, 13_549_057, 4_620_026),
        ({"hidden": 768, "heads": 12}, 0.3333, 109_483_009, None),
    ],
)
def test_published_sizes(model: dict[str, Any], share: float, discriminator: int, generator: int | None) -> None:
    with torch.device("meta"):
        built = compose(model | {"layers": 12, "context": 512}, 30_522, generator={"hidden_share": share})
    assert unique(built.backbone, built.discriminator) == discriminator
    width = built.backbone.embedding.width
    shared = (30_522 + 512 + 2 + 2) * width  # words, positions, segments and the norm of their sum
    assert unique(built) == discriminator + unique(built.generator) - shared
    assert generator is None or unique(built.generator) == generator


def test_embeddings_are_one() -> None:
    built = compose({"embedding_dim": 4}, generator={"hidden_share": 0.5})
    main, small = built.backbone, built.generator.backbone
    assert main.embedding is small.embedding
    assert main.positions is small.positions
    assert main.segments is small.segments
    assert main.embedding_norm is small.embedding_norm
    assert built.generator.head.weight is main.embedding.weight
    assert (small.dim, small.cache.heads, main.cache.heads) == (4, 1, 2)  # heads as wide as before
    assert isinstance(small.projection, nn.Identity)  # 4 wide already
    assert main.projection is not small.projection


def test_the_generator_is_an_override() -> None:
    deep = compose(generator={"model": {"layers": 1, "feed_forward": 3}, "head": {"transform": {"epsilon": 0.5}}})
    assert len(deep.generator.backbone.blocks) == 1
    assert deep.generator.backbone.blocks[0].feed_forward.inner.out_features == 3
    assert deep.generator.head.transform.norm.eps == 0.5
    with pytest.raises(ConfigError, match=r"objective.generator: model.laters: no such setting; did you mean 'layers'"):
        compose(generator={"model": {"laters": 1}})
    with pytest.raises(ConfigError, match=r"ratios the main model's embeddings"):
        compose(generator={"model": {"context": 16}})


def test_other_generators() -> None:
    tied = compose(generator="tied")
    assert tied.generator.backbone is tied.backbone
    uniform = compose(generator="uniform")
    assert uniform.generator is None
    assert uniform.counts(masked_batch()) == {"replaced": 22}


# --- sampling -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("temperature", "vocabulary"), [(0.5, 300), (1.0, VOCABULARY), (1.0, 300), (1.0, 2 * GROUP), (2.0, 300)]
)
def test_samples_have_the_probabilities_of_the_scores(temperature: float, vocabulary: int) -> None:
    """With evenly spaced numbers each token's share is its probability up to one of them."""
    torch.manual_seed(1)
    scores, many = torch.randn(vocabulary), 100_000
    even = (torch.arange(many, dtype=torch.float64) + 0.5) / many
    drawn = sample((scores / temperature).expand(many, -1), even)
    ratios = torch.bincount(drawn, minlength=vocabulary) / many
    assert_same(ratios, (scores / temperature).softmax(0), 3e-5)


@pytest.mark.parametrize(("vocabulary", "possible"), [(4, 2), (3 * GROUP + 5, 1), (3 * GROUP + 5, 3 * GROUP + 2)])
def test_samples_of_probability_zero_never_come(vocabulary: int, possible: int) -> None:
    scores = torch.full((5, vocabulary), -math.inf)
    scores[:, possible] = -3.0
    edges = torch.tensor([0.0, 1e-12, 0.5, 1 - 1e-12, 1 - 2**-53], dtype=torch.float64)
    assert sample(scores, edges).tolist() == [possible] * 5


def samples_of(built: Replaced, batch: Batch) -> Tensor:
    with torch.no_grad():
        return built._generate(batch)[2]


def test_the_hidden_token_may_be_ruled_out() -> None:
    one, random = masked_batch((8,) * 4), torch.Generator().manual_seed(0)
    batch = Batch(
        inputs=Inputs(tokens=one.inputs.tokens.repeat(50, 1)),
        targets=one.targets.repeat(50, 1),
        noise=torch.rand(200, 8, dtype=torch.float64, generator=random),
    )
    hidden = batch.targets[batch.targets != -100]
    share = (samples_of(compose(), batch) == hidden).float().mean().item()
    assert share == pytest.approx(1 / VOCABULARY, abs=0.05)  # a fresh generator knows nothing
    assert not (samples_of(compose(allow_correct=False), batch) == hidden).any()


def test_writing_by_places_is_writing_by_targets() -> None:
    """As on an accelerator, which is not asked how many targets there are."""
    batch = masked_batch()
    chosen = batch.targets != -100
    places = torch.from_numpy(places_of(chosen.numpy()))
    values = torch.arange(100, 100 + places.numel()).view_as(places)
    picked = values[places >= 0]  # rows one after the other
    assert_same(written(batch.inputs.tokens, places, values), batch.inputs.tokens.masked_scatter(chosen, picked))


def test_uniform_samples() -> None:
    batch = masked_batch()
    expected = (batch.noise[batch.targets != -100] * VOCABULARY).long()
    assert_same(samples_of(compose(generator="uniform"), batch), expected)


def test_no_gradient_flows_through_samples() -> None:
    """The main model's loss leaves the generator's own weights alone, and the generator's those of the main model."""
    built, batch = compose(), masked_batch()
    shared = set(built.backbone.parameters()) & set(built.generator.parameters())
    main = nn.ModuleList([built.backbone, built.discriminator])
    for name, others in (("replaced", built.generator), ("masked", main)):
        built.zero_grad(set_to_none=True)
        built(batch, None).terms[name].total.backward()
        assert {p for p in others.parameters() if p.grad is not None} <= shared
    built.zero_grad(set_to_none=True)
    step = built(batch, None)
    sum(term.total * term.weight for term in step.terms.values()).backward()
    untouched = {name for name, p in built.named_parameters() if p.grad is None or not p.grad.any()}
    assert untouched <= {"backbone.blocks.0.attention.qkv.bias"}


# --- the losses, in double precision --------------------------------------------------------------


def seen_by(built: Replaced, batch: Batch) -> Tensor:
    """The tokens that the main model reads, place by place."""
    tokens, drawn = originals(batch).clone(), iter(samples_of(built, batch).tolist())
    for row, place in (batch.targets != -100).nonzero().tolist():
        tokens[row, place] = next(drawn)
    return tokens


@pytest.mark.parametrize("positions", ["all", "chosen"])
def test_discriminating_by_hand(positions: str) -> None:
    built, batch = compose(positions=positions).double().eval(), masked_batch()
    built.requires_grad_(False)
    step = built(batch, None)
    tokens = seen_by(built, batch)
    vectors = built.backbone(Inputs(tokens=tokens, lengths=batch.inputs.lengths), None).last
    total, right, number, pairs = 0.0, 0, 0, Counter[tuple[bool, bool]]()
    for row, length in enumerate(batch.inputs.lengths.tolist()):
        for place in range(length):
            if positions == "chosen" and batch.targets[row, place] == -100:
                continue
            inner = F.gelu(built.discriminator.dense(vectors[row, place]))
            score = float(built.discriminator.prediction(inner))
            replaced = bool(tokens[row, place] != originals(batch)[row, place])
            total += math.log1p(math.exp(-score if replaced else score))
            right += (score > 0) == replaced
            number += 1
            pairs[replaced, score > 0] += 1
    assert step.terms["replaced"].total.item() == pytest.approx(total, rel=1e-9)
    assert step.terms["replaced"].weight == 50
    assert step.metrics["replaced"] == right
    ratios = built.ratios({name: int(count) for name, count in step.metrics.items()}, built.counts(batch))
    assert ratios["replaced_accuracy"] == right / number
    assert ratios["replaced_precision"] == pairs[True, True] / (pairs[True, True] + pairs[False, True])
    assert ratios["replaced_recall"] == pairs[True, True] / (pairs[True, True] + pairs[True, False])
    assert built.counts(batch)["replaced"] == number
    assert positions == "chosen" or number == int(batch.inputs.lengths.sum())


def test_generating_is_what_a_masked_model_does() -> None:
    built, batch = compose().double().eval(), masked_batch()
    step = built(batch, None)
    chosen = batch.targets != -100
    log_probs = built.generator.head.log_probs(built.generator.backbone(batch.inputs, None).last[chosen])
    wanted = batch.targets[chosen]
    assert step.terms["masked"].total.item() == pytest.approx(F.nll_loss(log_probs, wanted, reduction="sum").item())
    assert step.metrics["masked"] == (log_probs.argmax(-1) == wanted).sum()
    assert built.counts(batch)["masked"] == chosen.sum()


@pytest.mark.parametrize("positions", ["all", "chosen"])
def test_telling_the_original(positions: str) -> None:
    """Replace MLM, and all-tokens MLM with D of its probability on the token that is there."""
    built, batch = compose(target="original", positions=positions).double().eval(), masked_batch()
    step, tokens = built(batch, None), seen_by(built, batch)
    vectors = built.backbone(Inputs(tokens=tokens, lengths=batch.inputs.lengths), None).last
    probabilities = built.head.log_probs(vectors).exp()  # [B, T, V]
    where = batch.targets != -100
    if positions == "all":
        copying = built.discriminator.copies(vectors).sigmoid()
        probabilities = copying * F.one_hot(tokens, VOCABULARY) + (1 - copying) * probabilities
        where = torch.arange(8) < batch.inputs.lengths[:, None]
    told, wanted = probabilities[where], originals(batch)[where]
    expected = -told.gather(1, wanted[:, None]).log().sum().item()
    assert step.terms["original"].total.item() == pytest.approx(expected, rel=1e-9)
    assert step.terms["original"].weight == 1
    assert step.metrics["original"] == (told.argmax(-1) == wanted).sum()
    assert built.counts(batch)["original"] == where.sum()


@pytest.mark.parametrize("settings", [{}, {"generator": "tied"}, {"target": "original"}, {"generator": "uniform"}])
def test_parts_of_a_batch_add_up(settings: dict[str, Any]) -> None:
    """Both losses have denominators of their own; draws belong to rows, so that they do not depend on the parts."""
    batch, found = masked_batch(), {}
    for parts in (1, 2, 4):
        built = compose(**settings).double()
        trainer = trainer_of(built, micro_batches=parts)
        counts = {name: float(count) for name, count in built.counts(batch).items()}
        loss, *_ = trainer.backward(batch, None, counts)
        found[parts] = {"loss": loss} | {name: p.grad for name, p in built.named_parameters() if p.grad is not None}
    assert_same(found[2], found[1], 1e-12)
    assert_same(found[4], found[1], 1e-12)


# --- whole trainings ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(corpus: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was never stopped."""
    out = tmp_path_factory.mktemp("replaced") / "run"
    foretell.train(replacing(corpus), out, quiet=True)
    return out


def test_both_models_learn(whole: Path) -> None:
    """From guessing blindly, log 19 for the generator and 50 log 2 for the main model."""
    trained = [record["loss"] for record in Run(whole).metrics() if record["kind"] == "train"]
    assert trained[0] == pytest.approx(math.log(19) + 50 * math.log(2), rel=0.1)
    assert trained[-1] < 0.7 * trained[0]
    valid = [record for record in Run(whole).metrics() if record["kind"] == "valid"][-1]
    assert valid["masked_loss"] < math.log(19)
    assert valid["replaced_loss"] < 0.6 * math.log(2)
    assert 0 < valid["masked_accuracy"] < 1
    assert 0.8 < valid["replaced_accuracy"] < 1
    assert valid["objective_loss"] == pytest.approx(valid["masked_loss"] + 50 * valid["replaced_loss"], rel=1e-6)


def test_what_breaks_an_order_is_found(tmp_path: Path) -> None:
    """Of a text that goes round in a circle, whose replaced words any of their neighbours gives away."""
    words, random = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"], np.random.default_rng(0)
    for split, lines in ("train", 300), ("valid", 60):
        rounds = [np.roll(words, begin)[:10] for begin in random.integers(0, len(words), lines)]
        (tmp_path / f"{split}.txt").write_text("".join(" ".join(line) + "\n" for line in rounds))
    files = {split: str(tmp_path / f"{split}.txt") for split in ("train", "valid")}
    model = {"model__hidden": 32, "model__layers": 2, "model__positions": "rotary", "model__dropout": {}}
    how = {"limit": "16epochs", "data__batches__batch": 16, "optimizer__learning_rate": 3e-3}
    tables = replacing(files, objective__masking={"kind": "token", "rate": 0.2}, **model, **how)
    foretell.train(tables, tmp_path / "run", quiet=True)
    valid = [record for record in Run(tmp_path / "run").metrics() if record["kind"] == "valid"][-1]
    assert valid["replaced_precision"] > 0.4 and valid["replaced_recall"] > 0.1  # by chance: 0.15, none


def test_a_main_model_that_finds_nothing_is_told_of(whole: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(doctor_run, "EARLY", 1)
    shutil.copytree(whole, tmp_path / "run")

    def level(recall: float) -> str:
        records = [*Run(whole).metrics()]
        records[-1]["replaced_recall"] = recall
        (tmp_path / "run" / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        found = doctor_run.examine_run(tmp_path / "run")["findings"]
        return next(str(finding["level"]) for finding in found if finding["about"] == "replaced tokens")

    assert level(0.0) == "warning" and level(0.2) == "ok"


def test_a_run_is_measured_alike_each_time(whole: Path) -> None:
    run = foretell.load(whole, which="last")
    one, other = run.evaluate("valid"), run.evaluate("valid", batch=2)
    last = [record for record in run.run.metrics() if record["kind"] == "valid"][-1]
    for name in ("masked_loss", "replaced_loss"):
        assert one[name] == pytest.approx(last[name], rel=1e-12)
        assert other[name] == pytest.approx(one[name], rel=1e-5)  # samples too, whatever the batch
    assert one["replaced_accuracy"] == other["replaced_accuracy"]


def test_sharing_survives_saving(whole: Path) -> None:
    built = foretell.load(whole).objective
    assert built.backbone.embedding is built.generator.backbone.embedding
    saved, _ = checkpoint.pointed(Run(whole), "last")
    assert not any(name.startswith("generator.backbone.embedding") for name in saved.tensors("model"))
    assert foretell.load(whole).features(["the cat sat"]).shape == (1, 8)


def test_going_on_is_as_if_never_stopped(whole: Path, corpus: dict[str, str], tmp_path: Path) -> None:
    recipe = replacing(corpus, checkpoint__every="1steps", checkpoint__keep=99)
    foretell.train(recipe, tmp_path / "run", quiet=True)
    for path in sorted((tmp_path / "run" / "checkpoints").glob("step-*")):
        if int(path.name.removeprefix("step-")) > 5:
            for file in path.iterdir():
                file.write_bytes(b"damaged")
    foretell.train(recipe, tmp_path / "run", quiet=True, resume=True)
    found, expected = outcome(tmp_path / "run"), outcome(whole)
    assert {key: found[key] for key in found if key.startswith("last")} == {
        key: expected[key] for key in expected if key.startswith("last")
    }


def test_draws_are_those_of_epoch_and_row(corpus: dict[str, str]) -> None:
    """Uniform over many rows, anew in each epoch, and the same wherever a row is."""
    rows = np.arange(2000)
    one, other = (Draws(1, epoch, rows, 50).places("sample") for epoch in (0, 1))
    assert one.mean() == pytest.approx(0.5, abs=5e-3)
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.02
    assert (Draws(1, 0, rows[[7, 3]], 50).places("sample") == one[[7, 3]]).all()
