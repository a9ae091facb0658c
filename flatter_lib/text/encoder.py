r"""The encoder of BERT (Devlin et al. 2018), and a classifier made of its top layers.

A token's vector is the sum of one for the word and one for its place, normalised. A layer adds to the vectors what they
attend to, and normalises, then what a network of two affine maps makes of each, and normalises again: the layer that
PyTorch calls ``TransformerEncoderLayer``. Nothing is dropped out: what is random of a training are its minibatches.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn


def padded(rows: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Sequences of different lengths as one array.

    Args:
        rows: each (length, ...), with at least one entry.

    Returns:
        (rows, longest, ...), with zeros at the ends; and (rows, longest), true where there is nothing of a sequence.

    Examples:
        >>> padded([torch.tensor([5, 6]), torch.tensor([7])])
        (tensor([[5, 6], [7, 0]]), tensor([[False, False], [False,  True]]))
    """
    lengths = torch.tensor([len(row) for row in rows], device=rows[0].device)
    together = nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    return together, torch.arange(together.shape[1], device=lengths.device) >= lengths[:, None]


class Encoder(nn.Module):
    """A Transformer that reads tokens.

    Args:
        vocabulary: tokens that it knows.
        positions: the longest sequence.
        width: of a token's vector.
        heads: of the attention; they divide the width.
        inner: width between the two affine maps of a layer.
        layers: how many.
        eps: added to variances where vectors are normalised.
        generator: source of the weights, normal with a standard deviation of 0.02, as BERT's are; without it they are
            left empty, on the device ``meta``, to be loaded.

    Examples:
        >>> encoder = Encoder(10, 8, width=4, heads=2, inner=6, layers=2, generator=torch.Generator())
        >>> tokens, padding = padded([torch.tensor([5, 6, 1]), torch.tensor([7])])
        >>> encoder(tokens, padding).shape
        torch.Size([2, 3, 4])
    """

    def __init__(
        self,
        vocabulary: int,
        positions: int,
        *,
        width: int,
        heads: int,
        inner: int,
        layers: int,
        eps: float = 1e-12,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        with torch.device("meta"):
            self.words = nn.Embedding(vocabulary, width)
            self.places = nn.Embedding(positions, width)
            self.norm = nn.LayerNorm(width, eps=eps)
            self.layers = nn.ModuleList(
                nn.TransformerEncoderLayer(
                    width, heads, inner, 0.0, "gelu", layer_norm_eps=eps, batch_first=True
                )
                for _ in range(layers)
            )
        if generator is not None:
            self.to_empty(device="cpu")
            for name, p in self.named_parameters():
                if p.ndim > 1:
                    nn.init.normal_(p, std=0.02, generator=generator)
                else:
                    nn.init.constant_(p, float("norm" in name and name.endswith("weight")))

    def forward(
        self, tokens: torch.Tensor, padding: torch.Tensor, through: int | None = None
    ) -> torch.Tensor:
        """The tokens' vectors, (sequences, length, width), after so many layers; all if left out."""
        x: torch.Tensor = self.norm(self.words(tokens) + self.places.weight[: tokens.shape[1]])
        for layer in self.layers[:through]:
            x = layer(x, src_key_padding_mask=padding)
        return x


class Classifier(nn.Module):
    r"""Layers of an encoder, the mean of the tokens' vectors, and an affine map to the classes, which starts at zero.

    Args:
        layers: to be copied.
        width: of a token's vector.
        classes: how many.

    Examples:
        >>> encoder = Encoder(10, 8, width=4, heads=2, inner=6, layers=2, generator=torch.Generator())
        >>> tokens, padding = padded([torch.tensor([5, 6, 1]), torch.tensor([7])])
        >>> top = Classifier(encoder.layers[1:], width=4)
        >>> top(encoder(tokens, padding, through=1), padding).tolist()
        [[0.0, 0.0], [0.0, 0.0]]
    """

    def __init__(self, layers: Sequence[nn.Module], width: int, classes: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(copy.deepcopy(layer) for layer in layers)
        like = next(iter(self.layers.parameters()))
        with torch.device("meta"):
            self.head = nn.Linear(width, classes, dtype=like.dtype)
        self.head.to_empty(device=like.device)
        for p in self.head.parameters():
            nn.init.zeros_(p)

    def forward(self, x: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        """Logits, (sequences, classes), of vectors that lower layers gave."""
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=padding)
        there = (~padding).to(x.dtype)
        logits: torch.Tensor = self.head(
            torch.einsum("ntw,nt->nw", x, there) / there.sum(1)[:, None]
        )
        return logits
