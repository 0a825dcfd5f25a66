"""Llama and Mistral: grouped queries, rotary settings of both spellings, generation, and what is refused by name."""

import copy
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from hugging_face import LLAMA_SIZES, MINI, VOCABULARY, checkpoint, imported, trained, transformers_installed
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from foretell.data.batches.framing import Framing
from foretell.data.batches.streams import StreamsConfig
from foretell.errors import ConfigError
from foretell.interop.hugging_face.correspondence import Misfit, read_tensors, write_tensors
from foretell.interop.hugging_face.llama import LLAMA, MISTRAL, ORIGINAL
from foretell.interop.hugging_face.vocabulary import is_numbers, numbers, read_tokenizer
from foretell.nn.attention.positions import Llama3ScalingConfig, frequencies
from foretell.tools.use.convert import export_run
from foretell.types import Inputs

CONFIG: dict[str, Any] = {key: value for key, value in LLAMA_SIZES.items() if key != "rope_parameters"}


@pytest.mark.parametrize(
    ("stated", "base"),
    [
        ({}, 10_000.0),
        ({"rope_theta": 5e5, "rope_scaling": None}, 5e5),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 300.0}}, 300.0),
        ({"rope_parameters": {"rope_type": "default"}, "rope_theta": 5e5}, 5e5),
        ({"rope_parameters": None, "rope_scaling": {}}, 10_000.0),
    ],
)
def test_the_base_in_newer_and_older_files(stated: dict[str, Any], base: float) -> None:
    assert LLAMA.recipe(CONFIG | stated, [])[1]["model"]["positions"] == {"kind": "rotary", "base": base}


LLAMA3 = {"rope_type": "llama3", "factor": 4, "low_freq_factor": 1.0, "high_freq_factor": 3.0}
SCALED = {"kind": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 3.0, "original_context": 8}


@pytest.mark.parametrize(
    "stated",
    [
        {"rope_theta": 300.0, "rope_scaling": {**LLAMA3, ORIGINAL: 8}},
        {"rope_parameters": {**LLAMA3, "rope_theta": 300.0, ORIGINAL: 8}},
        {"rope_theta": 300.0, "rope_scaling": LLAMA3, "max_position_embeddings": 8},
        {"rope_theta": 300.0, "rope_scaling": {**LLAMA3, ORIGINAL: 9}, ORIGINAL: 8},
        {
            "rope_scaling": {**LLAMA3, "rope_theta": 300, ORIGINAL: 8},
            "rope_parameters": {**LLAMA3, "rope_theta": 300, ORIGINAL: 8},
        },
    ],
)
def test_scaling_in_newer_and_older_files(stated: dict[str, Any], transformers: ModuleType) -> None:
    found = LLAMA.recipe(CONFIG | stated, [])[1]["model"]["positions"]
    assert found == {"kind": "rotary", "base": 300.0, "scaling": SCALED}
    config = transformers.LlamaConfig(**copy.deepcopy(CONFIG | stated))
    rotary = transformers.models.llama.modeling_llama.LlamaRotaryEmbedding(config)
    ours = Llama3ScalingConfig(**SCALED).scaled(frequencies(6, 300.0))
    torch.testing.assert_close(rotary.inv_freq, ours.float(), rtol=1e-6, atol=0)


def test_linear_scaling_in_an_older_file() -> None:
    found = LLAMA.recipe(CONFIG | {"rope_scaling": {"type": "linear", "factor": 2}}, [])[1]["model"]["positions"]
    assert found == {"kind": "rotary", "base": 10_000.0, "scaling": {"kind": "linear", "factor": 2.0}}


def test_a_scaling_that_transformers_lacks_is_not_exported() -> None:
    tree = LLAMA.recipe(CONFIG, [])[1]
    tree["model"]["positions"]["scaling"] = {"kind": "their_package:Scaling"}
    with pytest.raises(Misfit, match=r"scaling\.kind = 'their_package:Scaling' is not among linear, llama3"):
        LLAMA.config({"data": {}} | tree)


@pytest.mark.parametrize(
    ("stated", "problem"),
    [
        ({"rope_scaling": {"rope_type": "yarn", "factor": 8.0}}, "rope_type = 'yarn' is not supported"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_type = 'dynamic' is not supported"),
        ({"rope_scaling": {"type": ["linear"]}}, "rope_type = a list is not supported"),
        ({"rope_scaling": {"type": "linear"}}, "has no 'rope_scaling.factor'"),
        ({"rope_scaling": {"type": "linear", "factor": 0.5}}, "factor"),
        ({"rope_scaling": LLAMA3 | {"high_freq_factor": 1}}, "high_freq_factor = 1 has to be larger than"),
        ({"rope_scaling": {"type": "linear", "factor": 2}, "rope_parameters": {"factor": 2}}, "differ"),
        ({"rope_parameters": {"rope_theta": 1e4}, "rope_theta": 5e5}, "rope_theta = 500000, but rope_parameters has 1"),
        ({"rope_parameters": {"full_attention": {}}}, "rope_parameters.full_attention is not supported"),
        ({"head_dim": 0}, "'head_dim' is 0, not an integer"),
        ({"head_dim": 2.5}, "'head_dim' is 2.5, not an integer"),
        ({"attention_bias": True}, "attention_bias = True is not supported"),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu' is not supported"),
        ({"num_key_value_heads": 0}, "num_key_value_heads"),
    ],
)
def test_what_is_not_supported(stated: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        LLAMA.recipe(CONFIG | stated, [])


def test_a_sliding_window_is_refused() -> None:
    with pytest.raises(ConfigError, match="sliding_window = 4096 is not supported for mistral"):
        MISTRAL.recipe(CONFIG | {"sliding_window": 4096}, [])


def test_another_norm_is_no_llama() -> None:
    tree = LLAMA.recipe(CONFIG, [])[1]
    tree["model"]["norm"]["type"] = "layer"
    with pytest.raises(Misfit, match=r"model\.norm\.type = 'layer'"):
        LLAMA.config({"data": {}} | tree)


@pytest.mark.parametrize("width", [2, 3])
@pytest.mark.parametrize("shared", [1, 2, 4])
def test_queries_keys_and_values_are_joined_and_split_again(shared: int, width: int) -> None:
    qkv, out = (f"backbone.blocks.3.attention.{part}.weight" for part in ("qkv", "out"))
    ours = {qkv: torch.arange(float((4 + 2 * shared) * width * 8)).view(-1, 8), out: torch.zeros(8, 4 * width)}
    written = dict(write_tensors(LLAMA.links, ours))
    shapes = {name.split(".")[-2][0]: tuple(tensor.shape) for name, tensor in written.items()}
    assert shapes == {"q": (4 * width, 8), "k": (shared * width, 8), "v": (shared * width, 8), "o": (8, 4 * width)}
    assert torch.equal(read_tensors(LLAMA.links, written, ours).tensors[qkv], ours[qkv])


@pytest.mark.parametrize(("stated", "found"), [({}, None), ({"head_dim": 6}, None), ({"head_dim": 16}, 16)])
def test_the_width_of_heads(stated: dict[str, Any], found: int | None) -> None:
    tree = LLAMA.recipe(CONFIG | stated, [])[1]
    assert tree["model"].get("head_dim") == found
    for written in (found, found or 6):  # what the setting would be anyway need not be written
        tree["model"]["head_dim"] = written
        assert LLAMA.config({"data": {}} | tree)[1].get("head_dim") == found


@torch.no_grad()
@pytest.mark.parametrize("name", ["llama", "llama-one-key", "llama-scaled"])
def test_tokens_generated_from_a_cache_are_theirs_in_float64(name: str, tmp_path: Path) -> None:
    theirs = checkpoint(transformers_installed(), tmp_path / "theirs", MINI[name]).double()
    run, _ = imported(tmp_path / "theirs", tmp_path / "run")
    backbone, head = run.objective.backbone.double().eval(), run.objective.head.double()
    texts = torch.tensor([[7, 9, 11], [8, 30, 31]])
    logits = theirs(texts).logits
    torch.testing.assert_close(
        head.log_probs(backbone(Inputs(texts), None).last), logits.log_softmax(-1), rtol=0, atol=1e-6
    )
    expected = theirs.generate(texts, max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=5)
    found, new, state = texts, texts, backbone.initial_state(2)
    for _ in range(12):
        hidden = backbone(Inputs(new), state)
        state = hidden.state
        new = head.log_probs(hidden.last[:, -1]).argmax(-1)[:, None]
        found = torch.cat([found, new], 1)
    assert state[3][0][0].shape[1] == MINI[name][2]["num_key_value_heads"]
    assert torch.equal(found, expected)


def beginning(begin: str, template: str) -> tokenizers.Tokenizer:
    """A tokenizer of words w0, w1, … whose tokens 0 and 1 are what a text may begin and end with."""
    words = [begin, "</s>", *(f"w{number}" for number in range(VOCABULARY - 2))]
    library = tokenizers.Tokenizer(WordLevel({word: token for token, word in enumerate(words)}, unk_token="w0"))
    library.pre_tokenizer = WhitespaceSplit()
    library.add_special_tokens([begin, "</s>"])
    if template:
        library.post_processor = TemplateProcessing(single=template, special_tokens=[(begin, 0), ("</s>", 1)])
    return library


@pytest.mark.parametrize(
    ("template", "settings", "opening"),
    [
        ("<s> $A", {}, (1, 0)),
        ("<s> $A </s>", {}, (1, 0)),
        ("<s> $A", {"add_bos_token": False}, (1, 0)),  # settings of classes that do not read them
        ("", {"add_bos_token": True}, None),
        ("$A </s>", {}, None),
        ("", {"tokenizer_class": "LlamaTokenizer"}, (1, 0)),
        ("<s> $A", {"tokenizer_class": "LlamaTokenizerFast", "add_bos_token": False}, None),
        ("", {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "bos_token": "</s>"}, None),
    ],
)
def test_what_texts_begin_with(
    template: str, settings: dict[str, Any], opening: tuple[int, int] | None, tmp_path: Path
) -> None:
    beginning("<s>", template).save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    found = read_tokenizer(tmp_path, {"model_type": "llama"}, VOCABULARY)
    assert found is not None and found.specials.opening == opening


@pytest.mark.parametrize(("begin", "opening"), [(3, (5, 3)), (5, None), (None, None), (VOCABULARY, None)])
def test_what_texts_of_numbers_begin_with(begin: int | None, opening: tuple[int, int] | None) -> None:
    found = numbers(VOCABULARY, {"bos_token_id": begin, "eos_token_id": 5})
    assert found.specials.opening == opening and found.encode("17 3 5") == [17, 3, 5] and is_numbers(found)


def test_only_the_beginning_of_a_document_is_read_so(tmp_path: Path) -> None:
    """A `</s>` that a row ends with stays one; training, scores and export agree on what texts begin with."""
    beginning("<s>", "<s> $A </s>").save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "text.txt").write_text("w1 w2 w3\nw2 w1\n" * 40)
    file = {"kind": "file", "path": str(tmp_path / "tokenizer.json")}
    corpus = {split: str(tmp_path / "text.txt") for split in ("train", "valid", "test")}
    run = trained(tmp_path / "run", file, corpus, masked=False)
    ids = torch.tensor([[0, 3, 4, 5]])
    logits = run.objective.head.log_probs(run.objective.backbone(Inputs(ids), None).last)[0]
    expected = logits[:3].gather(1, ids[0, 1:, None]).double().sum().item()
    assert run.score(["w1 w2 w3"])[0].logp == pytest.approx(expected, abs=1e-5)
    with run.text("train") as text:
        windows = StreamsConfig(batch=1, length=400).build(text, run.tokenizer.specials, 0)
        assert windows[0].inputs.tokens[0, :4].tolist() == [0, 3, 4, 5] and not (windows[0].inputs.tokens == 1).any()
    rows = Framing(run.tokenizer, 8).frame(np.array([3, 4]))
    assert rows.tokens.tolist() == [0, 3, 4, 1]
    export_run(run, tmp_path / "out", None)
    again, _ = imported(tmp_path / "out", tmp_path / "again")
    assert again.score(["w1 w2 w3"])[0].logp == pytest.approx(expected, abs=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(
    ("begin", "settings", "framed"),
    [("<s>", {}, True), ("<|begin_of_text|>", {}, True), ("<s>", {"tokenizer_class": "LlamaTokenizer"}, False)],
)
def test_texts_begin_as_their_tokenizer_begins_them(
    begin: str, settings: dict[str, Any], framed: bool, tmp_path: Path, transformers: ModuleType
) -> None:
    folder = tmp_path / "theirs"
    config, model, sizes = MINI["llama"]
    theirs = checkpoint(transformers, folder, (config, model, sizes | {"bos_token_id": 0, "eos_token_id": 1}))
    beginning(begin, f"{begin} $A" if framed else "").save(str(folder / "tokenizer.json"))
    if settings:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    run, _ = imported(folder, tmp_path / "run")
    assert run.tokenizer.specials.opening == (1, 0)
    ids = torch.tensor([[0, 5, 6, 7]])
    expected = theirs(ids).logits.log_softmax(-1)[0, :3].gather(1, ids[0, 1:, None]).double().sum().item()
    assert run.score(["w3 w4 w5"])[0].logp == pytest.approx(expected, abs=1e-4)
    export_run(run, tmp_path / "again", None)
    stated = json.loads((tmp_path / "again" / "config.json").read_text())
    assert (stated["bos_token_id"], stated["eos_token_id"]) == (0, 1)
    theirs_again = transformers.AutoTokenizer.from_pretrained(tmp_path / "again")
    assert (theirs_again("w3 w4 w5")["input_ids"], theirs_again.bos_token) == ([0, 5, 6, 7], begin)
    run, _ = imported(tmp_path / "again", tmp_path / "twice")
    assert run.score(["w3 w4 w5"])[0].logp == pytest.approx(expected, abs=1e-4)


def test_a_context_longer_than_any_tensor(tmp_path: Path, transformers: ModuleType) -> None:
    config, model, sizes = MINI["llama-scaled"]
    checkpoint(transformers, tmp_path / "theirs", (config, model, sizes | {"max_position_embeddings": 100_000}))
    run, _ = imported(tmp_path / "theirs", tmp_path / "run")
    assert run.recipe.model.context == 100_000
    stated = tmp_path / "theirs" / "config.json"
    stated.write_text(stated.read_text().replace("100000", str(2**24)))
    with pytest.raises(ConfigError, match="tables of 201,326,592 numbers, more than the weights have"):
        imported(tmp_path / "theirs", tmp_path / "again")
