"""What loading a foreign model gives, and reading it takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Runs a network on a batch `(N, ...)` float32; returns its scores, float32."""


@dataclass(frozen=True, slots=True)
class ForeignNetwork:
    """A network that was trained elsewhere, cut to the part that reads.

    Attributes:
        path: The file or folder that it came from.
        origin: What that is, for people, such as `Keras 3 (.keras)`.
        graph: The network as ONNX without metadata, with one float32 input `(N, ...)` and one
            float32 output: `(N, T, C)` along time steps, `(N, L, C)` of L heads, or `(N, C)`.
        run: Runs the original network, cut in the same way; the check of the export compares the
            graph with it.
        scores: What the output holds: `"logits"` or `"probabilities"`.
        decoder: How the scores are read, where the file tells, else None.
        vocabulary: The texts of the classes in the order of their ids, as a `StringLookup` in the
            file holds them, `[UNK]` included; None if there is none.
        blank: The index of the CTC blank, where the file tells, else None.
        cut: What was cut off or changed, a line each, for people.
        advice: What helps where the graph turns out to answer differently, for people; empty where
            nothing is known.
        facts: For the model's card: SHA-256, framework, names of classes.
    """

    path: Path
    origin: str
    graph: onnx.ModelProto
    run: Run
    scores: Literal["logits", "probabilities"]
    decoder: Literal["ctc", "position", "glyph"] | None = None
    vocabulary: tuple[str, ...] | None = None
    blank: int | None = None
    cut: tuple[str, ...] = ()
    advice: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
