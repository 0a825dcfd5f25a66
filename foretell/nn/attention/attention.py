"""Multi-head scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762).

B rows, T tokens of the window, S tokens attended to, D width, H heads of width d, by default D / H,
K heads of keys and values, each shared by H / K consecutive heads of queries (arXiv:2305.13245), N real tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foretell.nn.attention.kv_cache import LayerCache
from foretell.nn.attention.pattern import AttentionPattern
from foretell.nn.attention.positions import rotate
from foretell.nn.dropout import keep_mask
from foretell.nn.linear import Linear


class SelfAttention(nn.Module):
    """Multi-head self-attention.

    Parameters: `qkv` [(H + 2 K) d, D] for queries, keys and values in this order, `out` [D, H d]; biases for both. With
    `qk_norm` each query and key is divided by its root mean square, so that scores are at most sqrt(d).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        key_value_heads: int | None = None,
        head_dim: int | None = None,
        *,
        qk_norm: bool = False,
        dropout: float = 0.0,
        biases: bool = True,
    ):
        super().__init__()
        self.qk_norm = qk_norm
        self.heads, self.key_value_heads, self.dropout = heads, key_value_heads or heads, dropout
        self.head_dim = head_dim or width // heads
        self.qkv = Linear(width, (heads + 2 * self.key_value_heads) * self.head_dim, bias=biases)
        self.out = Linear(heads * self.head_dim, width, bias=biases)

    def forward(
        self, inputs: Tensor, pattern: AttentionPattern, cache: LayerCache | None = None
    ) -> tuple[Tensor, LayerCache]:
        """inputs [B, T, D] -> outputs [B, T, D] and the keys and values [B, K, S, d] attended to.

        With a cache, keys and values of the window are written into it first. Without one, the window attends to
        itself alone.
        """
        rows, steps, _ = inputs.shape
        heads = self.heads + 2 * self.key_value_heads
        qkv = self.qkv(inputs).unflatten(-1, (heads, self.head_dim))  # [B, T, H + 2 K, d]
        if self.qk_norm or pattern.rotation is not None:
            compared, value = qkv.split([self.heads + self.key_value_heads, self.key_value_heads], 2)
            if self.qk_norm:
                compared = F.rms_norm(compared, (self.head_dim,))
            if pattern.rotation is not None:
                compared = rotate(compared, pattern.rotation)
            qkv = torch.cat([compared, value], 2)
        query, key, value = self.parted(qkv)
        if pattern.rectangles is not None:
            mixed = self.attend_by_text(qkv[0], pattern)
        elif cache is not None and pattern.slots is not None:
            for part, new in zip(cache, (key, value), strict=True):
                pattern.slots.write(part.transpose(1, 2), new)
            key, value = (
                part[:, :, : pattern.slots.filled].transpose(1, 2).to(query.dtype) for part in cache
            )  # [B, S, K, d]
            mixed = self.attend(query, key, value, pattern.slots.mask, causal=False)
        else:
            mixed = self.attend(query, key, value, pattern.mask, causal=pattern.causal and pattern.mask is None)
        outputs = self.out(mixed.reshape(rows, steps, self.heads * self.head_dim))
        return outputs, (key.transpose(1, 2), value.transpose(1, 2))

    def parted(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[..., H + 2 K, d] -> queries [..., H, d], keys and values [..., K, d]"""
        query, key, value = qkv.split([self.heads, self.key_value_heads, self.key_value_heads], -2)
        return query, key, value

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, causal: bool) -> Tensor:
        """query [B, T, H, d], key and value [B, S, K, d] -> [B, T, H, d]"""
        if self.training and self.dropout > 0 and query.device.type == "cpu":
            return attend_with_dropout(query, key, value, mask, self.dropout, causal=causal)
        mixed = F.scaled_dot_product_attention(
            query.transpose(1, 2),
            key.transpose(1, 2),
            value.transpose(1, 2),
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=causal,
            enable_gqa=self.key_value_heads < self.heads,
        )  # [B, H, T, d]
        return mixed.transpose(1, 2)

    def attend_by_text(self, qkv: Tensor, pattern: AttentionPattern) -> Tensor:
        """Queries, keys and values [N, H + 2 K, d] of texts sorted by length -> [N, H d].

        One call per length, without padding or masks. `split` keeps the backward pass from making a tensor of zeros
        for each part, as slicing would.
        """
        rectangles = pattern.rectangles or ()
        mixed = []
        for part, (texts, steps) in zip(qkv.split([n * t for n, t in rectangles]), rectangles, strict=True):
            query, key, value = self.parted(part.unflatten(0, (texts, steps)))
            mixed.append(self.attend(query, key, value, None, causal=pattern.causal).reshape(texts * steps, -1))
        return torch.cat(mixed) if mixed else qkv[:, : self.heads].flatten(1)


def attend_with_dropout(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, rate: float, *, causal: bool
) -> Tensor:
    """`SelfAttention.attend` step by step: on a CPU torch has no fused kernel with dropout and draws masks slowly."""
    shared = query.shape[2] // key.shape[2]
    if shared > 1:
        key, value = key.repeat_interleave(shared, 2), value.repeat_interleave(shared, 2)
    scores = (query * query.shape[-1] ** -0.5).transpose(1, 2) @ key.permute(0, 2, 3, 1)  # [B, H, T, S]
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if mask is not None:
        scores = scores.masked_fill_(~mask, -torch.inf)
    weights = scores.softmax(-1)
    weights = weights * keep_mask(weights, tuple(weights.shape), rate)
    mixed: Tensor = (weights @ value.transpose(1, 2)).transpose(1, 2)
    return mixed
