"""Files compressed by a language model: its size is the text's measured bits, plus a header of about 50 bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from foretell.coding.container import Header, digest_of, machine, opened
from foretell.coding.tokens import Ids
from foretell.data.tokenizers.tokenizer import Tokenizer
from foretell.errors import ConfigError
from foretell.types import OnProgress

MOST_TOKENS = 1 << 16
"""of a byte: one of probability 1 - 2^-16 takes 2e-5 bits"""

if TYPE_CHECKING:
    from foretell.evaluate.language_model import LanguageModel


def compress(model: LanguageModel, content: bytes, name: str, *, static: bool, on_progress: OnProgress) -> bytes:
    """The content as a compressed file; see `LanguageModel.compress`."""
    tokens = tokens_of(content, model, name)
    adaptive = model.learns_as_it_reads and not static
    header = Header(adaptive, model.digest, len(tokens), digest_of(content), model.shares)
    return header.seal(model.coder(adaptive=adaptive).encode(tokens, on_progress))


def decompress(model: LanguageModel, compressed: bytes, name: str, *, on_progress: OnProgress) -> bytes:
    """The content of a compressed file; see `LanguageModel.decompress`."""
    header, message = opened(compressed, name)
    if len(header.weights) != len(model.shares):
        number = len(header.weights)
        by = f"a mixture of {number} runs: name the others with --mix, or the folder of the mixture alone"
        raise ConfigError(
            f"was compressed by {by if number else 'one run or a mixture with --log: name its folder alone'}", file=name
        )
    if header.weights:
        model = model.weighted(header.weights)
    if header.model != model.digest:
        which = "another run, checkpoint or adaptation" + ("; the order of its runs counts, too" * bool(header.weights))
        raise ConfigError(f"was compressed by another model than {model.name}: {which}", file=name)
    if header.machine != machine():
        raise ConfigError(
            "was compressed on another kind of processor, or with other versions of torch, numpy or numba, where "
            "probabilities differ in their last bits",
            file=name,
            remedy="decompress it there",
        )
    if header.tokens > MOST_TOKENS * (len(message) + 1):
        raise ConfigError("is damaged: it cannot hold as many tokens as it says", file=name)
    tokens = model.coder(adaptive=header.adaptive).decode(message, header.tokens, on_progress)
    content = content_of(tokens, model.tokenizer)
    if digest_of(content) != header.digest:
        raise ConfigError(
            f"comes back altered: the probabilities of {model.name} are not what they were in compressing (settings of "
            "torch that change its sums, or damaged memory)",
            file=name,
        )
    return content


def tokens_of(content: bytes, model: LanguageModel, name: str) -> Ids:
    """The tokens of any bytes; raises `ConfigError` unless they restore them."""
    tokenizer = model.tokenizer
    if tokenizer.kind == "byte":
        return np.frombuffer(content, np.uint8).astype(np.uint16) + np.uint16(1)
    remedy = 'use a run whose tokens lose nothing: data.tokenizer.kind = "byte", or "bpe" for UTF-8'
    try:
        text = content.decode()
    except UnicodeDecodeError as problem:
        raise ConfigError(
            f"is not UTF-8 (byte {problem.start:,}), and the tokens of {model.name} are not bytes",
            file=name,
            remedy=remedy,
        ) from None
    tokens = np.array(tokenizer.encode(text), dtype=np.uint32)
    if (back := tokenizer.decode(tokens)) != text:
        place = next((i for i, (a, b) in enumerate(zip(text, back, strict=False)) if a != b), min(len(text), len(back)))
        line = text.count("\n", 0, place) + 1
        raise ConfigError(f"the tokens of {model.name} do not restore this line", file=name, line=line, remedy=remedy)
    return tokens


def content_of(tokens: Ids, tokenizer: Tokenizer) -> bytes:
    """The bytes that tokens stand for."""
    if tokenizer.kind == "byte":
        codes: NDArray[np.uint8] = (tokens[tokens != tokenizer.boundary] - 1).astype(np.uint8)
        return codes.tobytes()
    return tokenizer.decode(tokens).encode()


def line_ends(tokenizer: Tokenizer) -> NDArray[np.bool_]:
    """[V] which tokens end a line."""
    spelled = (tokenizer.decode([token]) for token in range(tokenizer.size))
    return np.array([text.endswith("\n") for text in spelled])
