"""Reads pictures with one system, inside its own environment: `python driver.py JOBS`.

JOBS is a JSON file with a list of jobs. A job has

- `system`: one of `READERS`, or `tesseract-list`,
- `setting`: the reader's options, `command`, and `threads`: 1 is one thread on one core, 0 is as
  many threads as the system takes by default,
- `characters`: those of the set,
- `pictures`: their paths,
- `warm_up`: how many pictures are read before the clock runs.

Prints a JSON object. `jobs` holds for each job the texts, whether the system accepts each, and the
CPU and wall milliseconds of each picture, from encoded bytes to text. `stages` holds the CPU
milliseconds of each stage of this process's start.

The script imports no other module of the benchmarks, since the environments don't have them. It
imports each module only where it is needed, so that a cold start is almost only the system's.
"""

import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

Answer = tuple[str, bool | None]
"""The text, and whether the system is sure enough of it; None if it does not say."""

Read = Callable[[bytes], Answer]
Setting = Mapping[str, Any]

_marks = [("python", time.process_time())]


def mark(stage: str) -> None:
    """Records the end of a stage of the start; only the first call for a stage counts."""
    if stage not in dict(_marks):
        _marks.append((stage, time.process_time()))


def use_captcha_rt(setting: Setting, characters: str) -> Read:
    """The runtime without a model of the user's.

    With the `range` `"allowed"`, it is told the set's characters, in the case of the pictures.
    """
    from captcha_rt import Solver
    from captcha_rt.session import import_onnxruntime

    import_onnxruntime()
    mark("imports")
    solver = Solver()
    allowed = characters if setting.get("range") == "allowed" else None

    def read(picture: bytes) -> Answer:
        solution = solver.solve(picture, allowed=allowed)
        return solution.text, solution.accepted

    return read


def use_ddddocr(setting: Setting, characters: str) -> Read:
    """The default model, or the beta model with `beta`.

    `range` says how the set's characters are used:

    - None: they are not used.
    - `"dropped"`: version 1.6 drops all other characters from its answers.
    - `"argmax"`: the most probable of them is taken at each time step, as the manual of version
      1.5 shows.
    """
    import ddddocr  # in its environment
    import onnxruntime

    # ddddocr has no setting for threads, and onnxruntime counts the machine's cores, not those
    # that the process may use: a second thread would spin on the same core and double the CPU time.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = setting["threads"]
    original = onnxruntime.InferenceSession
    mark("imports")
    onnxruntime.InferenceSession = lambda *args, **more: original(*args, options, **more)
    reader = ddddocr.DdddOcr(show_ad=False, beta=setting["beta"])
    onnxruntime.InferenceSession = original
    if setting["range"] == "dropped":
        reader.set_ranges(both_cases(characters))
    elif setting["range"] == "argmax":
        reader.set_ranges(characters)
        return lambda picture: (best_path(reader.classification(picture, probability=True)), None)
    return lambda picture: (reader.classification(picture, png_fix=True), None)


def best_path(answer: Mapping[str, Any]) -> str:
    """The CTC greedy decoding of ddddocr 1.5's probabilities, `(T, C)`; the blank is empty."""
    best = [answer["charsets"][step.index(max(step))] for step in answer["probability"]]
    return "".join(c for c, before in zip(best, ["", *best], strict=False) if c != before)


def use_rapidocr(setting: Setting, characters: str) -> Read:
    """The recogniser alone.

    With the `range` `"dropped"`, its answers lose the characters that the set does not have.
    RapidOCR loads the model when it reads the first picture.
    """
    from rapidocr import RapidOCR  # type: ignore[import-not-found]  # in its environment

    mark("imports")
    reader = RapidOCR(
        params={
            "Global.use_det": False,
            "Global.use_cls": False,
            "Global.log_level": "critical",
            "EngineConfig.onnxruntime.intra_op_num_threads": setting["threads"] or -1,
        }
    )
    if setting.get("range") != "dropped":
        return lambda picture: ("".join(reader(picture).txts or ()), None)
    known = {*both_cases(characters)}
    return lambda picture: (
        "".join(c for t in reader(picture).txts or () for c in t if c in known),
        None,
    )


def use_captcha_whisperer(setting: Setting, characters: str) -> Read:  # noqa: ARG001  (no range)
    """captcha-whisperer with the model in its wheel."""
    from captcha_whisperer import CaptchaRecognizer  # type: ignore[import-not-found]

    mark("imports")
    reader = CaptchaRecognizer(threads=setting["threads"])
    return lambda picture: (reader.recognize_bytes(picture)["text"], None)


def use_tesseract(setting: Setting, characters: str) -> Read:
    """Tesseract, with a process for each picture."""
    import subprocess

    command = [part.format(picture="stdin", characters=characters) for part in setting["command"]]

    def read(picture: bytes) -> Answer:
        done = subprocess.run(command, input=picture, check=True, capture_output=True)
        return done.stdout.decode(), None

    return read


def both_cases(characters: str) -> str:
    """The characters as small letters and as capitals: the case of an answer does not count."""
    return characters.lower() + characters.upper()


READERS = {
    "captcha-rt": use_captcha_rt,
    "ddddocr": use_ddddocr,
    "rapidocr": use_rapidocr,
    "captcha-whisperer": use_captcha_whisperer,
    "tesseract": use_tesseract,
}


def read_pictures(job: Mapping[str, Any]) -> dict[str, Any]:
    """Reads a job's pictures one by one."""
    read = READERS[job["system"]](job["setting"], job["characters"])
    mark("model")
    clock = children_time if job["system"] == "tesseract" else time.process_time
    for path in job["pictures"][: job["warm_up"]]:
        read(_read_bytes(path))
    texts, accepted, cpus, walls = [], [], [], []
    for path in job["pictures"]:
        picture = _read_bytes(path)
        cpu, wall = clock(), time.perf_counter()
        text, sure = read(picture)
        walls.append((time.perf_counter() - wall) * 1000)
        cpus.append((clock() - cpu) * 1000)
        mark("first picture")
        texts.append(text)
        accepted.append(sure)
    return {"texts": texts, "accepted": accepted, "cpu": cpus, "wall": walls}


def read_list(job: Mapping[str, Any]) -> dict[str, Any]:
    """Reads a job's pictures with one process of Tesseract; all times are the mean time."""
    import subprocess
    import tempfile

    paths = job["pictures"]
    if not paths:
        return {"texts": [], "cpu": [], "wall": []}
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(f"{path}\n" for path in paths))
        file.flush()
        fields = {"picture": file.name, "characters": job["characters"]}
        command = [part.format(**fields) for part in job["setting"]["command"]]
        cpu, wall = children_time(), time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        wall = (time.perf_counter() - wall) * 1000 / len(paths)
        cpu = (children_time() - cpu) * 1000 / len(paths)
    texts = done.stdout.split("\f")[: len(paths)]
    if len(texts) != len(paths):
        sys.exit(f"Tesseract returned {len(texts)} texts for {len(paths)} pictures")
    return {"texts": texts, "cpu": [cpu] * len(paths), "wall": [wall] * len(paths)}


def stages() -> dict[str, float]:
    """CPU milliseconds of each stage of the start, up to the first picture."""
    before = [0.0, *(ended for _, ended in _marks)]
    return {name: (end - start) * 1000 for start, (name, end) in zip(before, _marks, strict=False)}


def children_time() -> float:
    """The CPU seconds of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _read_bytes(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123  (importing pathlib takes time)
        return file.read()


def main() -> None:
    """Does the jobs of the file and prints the answers; one thread also gets only one core."""
    import json

    jobs = json.loads(_read_bytes(sys.argv[1]))
    if jobs[0]["setting"]["threads"] == 1:
        os.environ["OMP_NUM_THREADS"] = "1"  # for Tesseract, and others that read it
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    read = {"tesseract-list": read_list}
    done = [read.get(job["system"], read_pictures)(job) for job in jobs]
    print(json.dumps({"jobs": done, "stages": stages()}))  # noqa: T201


if __name__ == "__main__":
    main()
