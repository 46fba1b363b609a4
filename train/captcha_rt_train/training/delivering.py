"""Delivers a trained network as a model file, and says what the runtime reads with it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import keras

from captcha_rt import Solver
from captcha_rt.errors import CaptchaRTError
from captcha_rt.manifest import Manifest
from captcha_rt.metrics import Prediction, evaluate
from captcha_rt_export.export import export_model
from captcha_rt_export.int8 import Int8Samples, choose_calibration
from captcha_rt_export.run import TRAINING, Run
from captcha_rt_export.spread import spread
from captcha_rt_train.data.samples import Dataset, Sample
from captcha_rt_train.training.fitting import predict
from captcha_rt_train.training.job import Job
from captcha_rt_train.training.preparing import Prepared
from captcha_rt_train.training.train import Measured

_AS_IT_IS: Final = 300  # pictures that the general model is tried on
_NO_NEED: Final = 0.94


def deliver(
    job: Job,
    prepared: Prepared,
    model: keras.Model,
    measured: Measured,
    again: Callable[[], keras.Model] | None,
) -> tuple[keras.Model, Measured, list[str]]:
    """Exports a network, and measures the file by the runtime; then that of all pictures.

    Args:
        job: The training.
        prepared: What it started from.
        model: The network, which has not seen what was held back.
        measured: How well it reads that.
        again: Trains the same network on all pictures, those held back too; None doesn't.

    Returns:
        The network in the model file; what was measured, with the file's accuracy; and lines in
        plain words.
    """
    manifest = measured.manifest
    part = "test" if prepared.parts["test"] else "validation"
    accuracy = _export(job, model, manifest)
    manifest = replace(manifest, accuracy=accuracy)
    lines = [_by_the_runtime(job.run, prepared.parts[part])]
    if again is not None:
        of_all = again()
        learned = evaluate(predict(of_all, manifest, prepared.parts["validation"]))
        if learned.exact_match < evaluate(measured.predictions["validation"]).exact_match:
            lines.append("a last training, with the pictures held back, read them worse")
        else:
            model = of_all
            manifest = replace(manifest, training={**manifest.training, "trained_on_all": True})
            _export(job, model, manifest, accuracy)
            lines.append("then trained once more, with the pictures held back")
    return model, replace(measured, manifest=manifest), lines


def as_it_is(dataset: Dataset) -> str:
    """How well the embedded models read the pictures as they are, in plain words."""
    labelled = [sample for sample in dataset.samples if sample.path and sample.label]
    looked_at = spread(labelled, _AS_IT_IS)
    if not looked_at:
        return "all pictures are drawn"
    read = _solve(Solver(), looked_at)
    exact = evaluate(read).exact_match
    folded = evaluate([replace(p, truth=p.truth.lower(), text=p.text.lower()) for p in read])
    line = f"as it is, the general model reads {exact:.1%} of {len(read)} pictures"
    if folded.exact_match > exact:
        line += f" ({folded.exact_match:.1%} if case is ignored)"
    if exact >= _NO_NEED:
        line += ": you may not need to train"
    return line


def _export(
    job: Job,
    model: keras.Model,
    manifest: Manifest,
    accuracy: Mapping[str, Any] | None = None,
) -> Mapping[str, Any]:
    """Writes the model file: in 8 bits if they cost nothing, else in float32.

    Returns:
        The accuracy that the file describes.
    """
    run = job.run
    held_back = [s for s in run.samples() if s.part != TRAINING and s.path.exists()]
    samples = [sample.path for sample in held_back]
    int8 = Int8Samples(choose_calibration(run.training_samples()), held_back)
    report = export_model(model, manifest, samples, run.onnx_file, int8=int8, accuracy=accuracy)
    if report.int8 is not None and report.int8.kept_float:
        job.observer.say("not in 8 bits, but in float32: 8 bits lose pictures, or gain no time")
    return report.manifest.accuracy


def _by_the_runtime(run: Run, samples: Iterable[Sample]) -> str:
    """What the model file reads of the pictures held back, by the runtime."""
    read = _solve(Solver(run.onnx_file), [sample for sample in samples if sample.path])
    return f"{run.onnx_file.name} reads {sum(p.text == p.truth for p in read)} of {len(read)}"


def _solve(solver: Solver, samples: Sequence[Sample]) -> list[Prediction]:
    """Reads pictures with the runtime; what can't be read is an empty text."""
    answers = solver.solve_many([sample.path for sample in samples if sample.path])
    return [
        Prediction(sample.name, sample.label, "", 0.0)
        if isinstance(answer, CaptchaRTError)
        else Prediction(sample.name, sample.label, answer.text, answer.confidence)
        for sample, answer in zip(samples, answers, strict=True)
    ]
