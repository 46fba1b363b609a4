"""Why a `Session` runs on one thread that doesn't spin: `python benchmarks/session_options.py`.

Times the embedded model with one and two threads, spinning or not, one picture and eight at a time,
in alternating rounds of one process, so that whatever else the machine does meets all alike. Wall
time is what a caller waits; CPU time is what the pictures cost a server. Writes
`benchmarks/results/session_options.json`.
"""

import statistics
import time
from itertools import product

import numpy as np
import onnxruntime as ort

from captcha_rt import decode_image, load_model
from harness import SAMPLES, Part

ROUNDS, RUNS, WARM_UP = 30, 20, 5
PAUSE = 0.05  # seconds, for the threads of the setting before to stop spinning


def session(threads: int, *, spinning: bool) -> ort.InferenceSession:
    """The embedded model with other options than ours."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    return ort.InferenceSession(load_model().data, options, providers=["CPUExecutionProvider"])


def measure(run: ort.InferenceSession, inputs: np.ndarray) -> tuple[float, float]:
    """Wall and CPU milliseconds a picture, of one round."""
    time.sleep(PAUSE)
    for _ in range(WARM_UP):
        run.run(None, {"image": inputs})
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(RUNS):
        run.run(None, {"image": inputs})
    pictures = RUNS * len(inputs) / 1000
    return (time.perf_counter() - wall) / pictures, (time.process_time() - cpu) / pictures


def main() -> None:
    """Measures all settings in turn, and writes the medians."""
    recipe = load_model().manifest.recipe
    tensors = [recipe.apply(decode_image(path)) for path in SAMPLES]
    settings = list(product((1, 2), (False, True)))
    sessions = {setting: session(setting[0], spinning=setting[1]) for setting in settings}
    rows = []
    for batch in (1, 8):
        inputs = np.stack([tensors[i % len(tensors)] for i in range(batch)])
        rounds = [{s: measure(sessions[s], inputs) for s in settings} for _ in range(ROUNDS)]
        for threads, spinning in settings:
            walls, cpus = zip(*(r[threads, spinning] for r in rounds), strict=True)
            rows.append(
                {
                    "batch": batch,
                    "threads": threads,
                    "spinning": spinning,
                    "wall_ms": round(statistics.median(walls), 4),
                    "cpu_ms": round(statistics.median(cpus), 4),
                }
            )
    Part("session_options").finish(
        {
            "model": load_model().manifest.name,
            "provider": "CPUExecutionProvider",
            "rounds": ROUNDS,
            "runs_a_round": RUNS,
            "warm_up": WARM_UP,
            "median_a_picture": rows,
        }
    )


if __name__ == "__main__":
    main()
