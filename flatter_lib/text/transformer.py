r"""A Transformer that writes on: the language model of Zhang et al. (2019, arXiv:1907.04164), Table 1, of any size."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flatter_lib import checks


class Transformer(nn.Module):
    r"""Logits of each next symbol from those before it (Vaswani et al. 2017, arXiv:1706.03762, Section 3).

    With the embedding :math:`E` of shape (symbols, width), token :math:`s` at place :math:`t` becomes
    :math:`\sqrt{w}\, E_s + p_t` with the sinusoids

    .. math:: p_{t, 2j} = \sin(t / 10^{4 \cdot 2j / w}), \qquad p_{t, 2j + 1} = \cos(t / 10^{4 \cdot 2j / w}).

    A layer adds to each vector what it attends to among those up to its own place, and normalises, then what two affine
    maps with a ReLU between them make of it, and normalises again. The logits are :math:`E x`: embedding and readout
    share their matrix. Nothing is dropped out. Zhang et al. have two layers of the "base" model: width 512, 8 heads,
    2,048 inner units. The inner width is four times the width here too.

    Every matrix starts normal with variance 1 / fan_in, where the embedding's is the width; biases are zero and the
    affine maps of normalisations the identity (our choice).

    Args:
        symbols: how many there are, at least 1.
        width: of a token's vector.
        heads: of the attention; they divide the width.
        layers: how many, at least 1.
        context: the longest sequence.
        generator: source of the initial weights, on the CPU.
        device: where the parameters are.
        dtype: their type.

    Raises:
        ValueError: if a size is no integer from 1, or the heads do not divide the width, or there is no generator.

    Examples:
        >>> network = Transformer(50, width=16, heads=2, context=8, generator=torch.Generator().manual_seed(0))
        >>> network(torch.zeros(3, 8, dtype=torch.int64)).shape
        torch.Size([3, 8, 50])
    """

    def __init__(
        self,
        symbols: int,
        *,
        width: int,
        heads: int,
        layers: int = 2,
        context: int,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        checks.count("symbols", symbols)
        if checks.count("width", width) % checks.count("heads", heads):
            raise ValueError(f"heads: must divide the width {width}, got {heads}")
        checks.count("layers", layers)
        checks.count("context", context)
        if not isinstance(generator, torch.Generator):
            raise ValueError(
                f"generator: must be a torch.Generator, got {type(generator).__name__}"
            )
        super().__init__()
        self.symbols = nn.Embedding(symbols, width, device="meta", dtype=dtype)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, 4 * width, 0.0, batch_first=True, device="meta", dtype=dtype
            )
            for _ in range(layers)
        )
        self.to_empty(device=device)
        with torch.no_grad():
            for name, p in self.named_parameters():
                if p.ndim > 1:
                    first = torch.randn(p.shape, generator=generator, dtype=dtype)
                    p.copy_(first / p.shape[1] ** 0.5)
                else:
                    p.fill_(float("norm" in name and name.endswith("weight")))
        places, parts = torch.arange(context)[:, None], torch.arange(width)
        angles = places / 1e4 ** (2 * (parts // 2) / width)
        waves = torch.where(parts % 2 == 0, angles.sin(), angles.cos())
        self.register_buffer("places", waves.to(device, dtype), persistent=False)
        later = torch.ones(context, context, dtype=torch.bool, device=device).triu(1)
        self.register_buffer("later", later, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of what follows each token, (n, t, symbols).

        Args:
            tokens: (n, t) of int64, with t at most the context.

        Raises:
            ValueError: if the sequences are longer.
        """
        length, context = tokens.shape[1], len(self.get_buffer("places"))
        if length > context:
            raise ValueError(f"tokens: must have at most {context} places, got {length}")
        mask = self.get_buffer("later")[:length, :length]
        width: int = self.symbols.embedding_dim
        x: Tensor = self.symbols(tokens) * width**0.5 + self.get_buffer("places")[:length]
        for layer in self.layers:
            x = layer(x, src_mask=mask, is_causal=True)
        return nn.functional.linear(x, self.symbols.weight)
