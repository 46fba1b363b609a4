"""Measurements of captcha-rt: `python -m benchmarks NAME`, run from the repository's root.

`accuracy` trains and evaluates models, `peers` compares the embedded model with other systems, and
`speed` measures time, memory and instructions. Each measurement writes a JSON file to
`benchmarks/results`. Its code also holds the functions that make tables and plots of that file.
"""

import os
from typing import Final, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow logs only errors


class Command(NamedTuple):
    """A command of `python -m benchmarks`.

    Attributes:
        module: The module in this package whose `main(argv)` runs it.
        summary: What the command does, in one line for the list of commands.
    """

    module: str
    summary: str


COMMANDS: Final = {
    "default": Command("accuracy.default", "trains, exports and measures the embedded model"),
    "documents": Command("accuracy.documents", "trains and measures the documents' presets"),
    "search": Command("accuracy.search", "compares variants of the preset `compact`"),
    "general": Command("accuracy.general", "makes the general model, reads kinds it never saw"),
    "own": Command("accuracy.own", "trains on folders of kinds that no model was tuned on"),
    "mixture": Command("accuracy.mixture", "draws what the general model learns from"),
    "suite": Command("suite", "runs all parts of the report that are not measured yet"),
    "report": Command("report", "writes results/report.md and the plots from the results"),
    "peers": Command("peers.compare", "compares the embedded model with other OCR systems"),
    "unseen": Command("peers.unseen", "compares them on kinds that nobody was trained on"),
    "origin": Command("speed.origin", "compares ways to run the same weights, from Keras to ours"),
    "scale": Command("speed.scale", "measures how the cost grows with pictures and network size"),
    "processes": Command("speed.processes", "measures what several processes bring to `solve`"),
    "limits": Command("speed.limits", "compares each model's time with the processor's limit"),
    "path": Command("speed.path", "compares a solve with a bare `imdecode` and a bare run"),
    "load_time": Command("speed.load_time", "measures how long models take to load"),
    "service": Command("speed.service", "measures what the service costs beside a solve"),
    "session_options": Command("speed.session_options", "compares onnxruntime's thread settings"),
    "gpu": Command("speed.gpu", "compares CUDA with the CPU, where CUDA works"),
    "instructions": Command(
        "speed.instructions", "compares a solve's instructions with a baseline"
    ),
}
"""All commands by name, in the order in which `python -m benchmarks` lists them."""
