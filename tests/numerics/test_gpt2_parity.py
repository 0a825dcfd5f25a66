"""The Transformer beside transformers' GPT-2 with the same weights; runs where that is installed."""

import pytest
import torch
from torch import Tensor

from foretell.models.transformer import Transformer, TransformerConfig
from foretell.nn.heads import FullHead
from foretell.types import Inputs

VOCABULARY, WIDTH, LAYERS, CONTEXT = 50, 24, 3, 16
NAMES = {
    "attention_norm": "ln_1",
    "attention.qkv": "attn.c_attn",
    "attention.out": "attn.c_proj",
    "feed_forward_norm": "ln_2",
    "feed_forward.inner": "mlp.c_fc",
    "feed_forward.out": "mlp.c_proj",
}


def renamed(model: Transformer) -> dict[str, Tensor]:
    """Our weights under GPT-2's names, whose matrices are inputs x outputs."""
    state = model.state_dict()
    found = {"wte.weight": state["embedding.table.weight"], "wpe.weight": state["positions.weight"]}
    found |= {f"ln_f.{part}": state[f"norm.{part}"] for part in ("weight", "bias")}
    for layer in range(LAYERS):
        for ours, theirs in NAMES.items():
            for part in ("weight", "bias"):
                tensor = state[f"blocks.{layer}.{ours}.{part}"]
                found[f"h.{layer}.{theirs}.{part}"] = tensor.t() if tensor.dim() == 2 else tensor
    return found


@pytest.mark.filterwarnings("ignore")
def test_it_is_gpt2() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = TransformerConfig(hidden=WIDTH, layers=LAYERS, heads=4, context=CONTEXT, activation="gelu_tanh")
    model = config.build(VOCABULARY).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=WIDTH, n_layer=LAYERS, n_head=4)
    )
    theirs.double().eval()
    theirs.transformer.load_state_dict(renamed(model))
    tokens = torch.randint(VOCABULARY, (3, CONTEXT))
    head = FullHead(model.embedding.weight, chunk=1 << 20)
    with torch.no_grad():
        ours = head.log_probs(model(Inputs(tokens=tokens), None).last)
        expected = theirs(input_ids=tokens).logits.log_softmax(-1)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)
