"""How well the confidence tells right answers from wrong ones: measured by `default`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.plots import save
from captcha_rt import CaptchaRTError, Solver
from captcha_rt.metrics import Prediction, calibration_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

THRESHOLDS: Final = np.round(np.arange(0, 1, 0.01), 2)
REJECTED: Final = 0.01  # the fraction of the validation pictures that the threshold may reject
FOREIGN: Final = 500  # pictures of each foreign kind


def choose_threshold(kinds: Sequence[Sequence[Prediction]]) -> float:
    """The highest threshold that rejects no more than `REJECTED` of the validation pictures.

    Each kind of pictures has the same weight. Foreign kinds have no influence, because nobody knows
    which ones users will try.

    Args:
        kinds: The predictions for the validation pictures of each kind.

    Returns:
        A confidence in 0..1, one of `THRESHOLDS`.
    """
    confidences = [np.array([p.confidence for p in predictions]) for predictions in kinds]
    return max(
        float(threshold)
        for threshold in THRESHOLDS
        if np.mean([(kind < threshold).mean() for kind in confidences]) <= REJECTED
    )


def read_foreign(solver: Solver) -> dict[str, list[Prediction]]:
    """Reads pictures of kinds that the model was not trained on.

    Returns:
        The predictions by the kind's name; `truth` is empty where a picture shows no text.

    Raises:
        CaptchaRTError: If a picture can't be read.
    """
    from benchmarks.accuracy.foreign_kinds import draw_foreign

    foreign: dict[str, list[Prediction]] = {}
    for kind, drawn in draw_foreign(FOREIGN).items():
        answers = solver.solve_batch([picture for _, picture in drawn])
        foreign[kind] = []
        for number, ((text, _), answer) in enumerate(zip(drawn, answers, strict=True)):
            if isinstance(answer, CaptchaRTError):
                raise answer
            foreign[kind].append(Prediction(str(number), text, answer.text, answer.confidence))
    return foreign


def measure_rejection(
    predictions: Sequence[Prediction],
    foreign: Mapping[str, Sequence[Prediction]],
    threshold: float,
) -> dict[str, Any]:
    """What a threshold accepts of the kinds that the model was trained on and of foreign kinds.

    Args:
        predictions: The predictions for test pictures of the kinds that the model was trained on.
        foreign: The predictions for foreign pictures, by the kind's name.
        threshold: The smallest confidence that is accepted, in 0..1.

    Returns:
        The confidence's entry in the result file; all values but counts are in 0..1.
    """

    def is_safe(prediction: Prediction) -> bool:
        """Whether the text is rejected, or is what the picture shows."""
        right = prediction.text == prediction.truth != ""
        return prediction.confidence < threshold or right

    accepted = [p for p in predictions if p.confidence >= threshold]
    everything_foreign = [p for kind in foreign.values() for p in kind]
    return {
        "min_confidence": threshold,
        "accepted": len(accepted) / len(predictions),
        "right_of_accepted": sum(p.text == p.truth for p in accepted) / len(accepted),
        "wrong_of_accepted": sum(p.text != p.truth for p in accepted),
        "calibration_error": calibration_error(predictions),
        "foreign_rejected_or_right": sum(map(is_safe, everything_foreign))
        / len(everything_foreign),
        "foreign": {
            kind: {
                "pictures": len(read),
                "rejected": sum(p.confidence < threshold for p in read) / len(read),
                "rejected_or_right": sum(map(is_safe, read)) / len(read),
            }
            for kind, read in foreign.items()
        },
    }


def draw_risk_coverage(
    predictions: Sequence[Prediction],
    foreign: Mapping[str, Sequence[Prediction]],
    threshold: float,
    path: Path,
) -> None:
    """Draws risk against coverage, and the fraction of pictures that each threshold accepts.

    Args:
        predictions: The predictions for test pictures of the kinds that the model was trained on.
        foreign: The predictions for foreign pictures, by the kind's name.
        threshold: The default threshold, which is marked.
        path: The PNG file.
    """

    def draw(figure: "Figure") -> None:
        left, right = figure.subplots(1, 2)
        _draw_risk(left, predictions, threshold)
        _draw_accepted(right, {"the four kinds": predictions, **foreign}, threshold)

    save(path, (10, 3.6), draw)


def _draw_risk(axes: "Axes", predictions: Sequence[Prediction], threshold: float) -> None:
    from matplotlib.ticker import PercentFormatter

    ordered = sorted(predictions, key=lambda prediction: -prediction.confidence)
    wrong = np.cumsum([prediction.text != prediction.truth for prediction in ordered])
    count = np.arange(1, len(ordered) + 1)
    axes.step(count / len(ordered), wrong / count, where="post")
    kept = sum(prediction.confidence >= threshold for prediction in predictions)
    point = kept / len(ordered), wrong[kept - 1] / kept
    axes.plot(*point, "o", color="C3")
    axes.annotate(
        f"default, {threshold:g}",
        point,
        xytext=(-40, 70),
        textcoords="offset points",
        ha="right",
        arrowprops={"arrowstyle": "-", "color": "C3"},
    )
    axes.set(xlabel="coverage: answers accepted", ylabel="risk: wrong ones of these")
    axes.set_title(f"Test pictures of the four kinds ({len(predictions):,})")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.xaxis.set_major_formatter(PercentFormatter(1))


def _draw_accepted(
    axes: "Axes", kinds: Mapping[str, Sequence[Prediction]], threshold: float
) -> None:
    from matplotlib.ticker import PercentFormatter

    grid = np.linspace(0, 1, 401)
    for name, read in kinds.items():
        confidences = np.array([prediction.confidence for prediction in read])
        accepted = (confidences[None] >= np.maximum(grid, 1e-9)[:, None]).mean(axis=1)
        axes.plot(grid, accepted, label=name, linewidth=2 if name == "the four kinds" else 1.2)
    axes.axvline(threshold, color="C3", linestyle=":")
    axes.set(xlabel="smallest confidence", ylabel="accepted")
    axes.set_title("Own and foreign kinds")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend()
