"""The form of NVIDIA's Triton: what `captcha-rt deploy triton` writes, for a run as well."""

from pathlib import Path

from captcha_rt.deploy.triton import check_name, write_triton
from captcha_rt.metrics import only_answer
from captcha_rt_export.errors import ExportError
from captcha_rt_export.spread import spread
from captcha_rt_export.to.source import MAX_CHECKED, Source, Taken


def write(source: Source, out: Path) -> Taken:
    """Writes the model's folder; its name is the name that clients ask for.

    Args:
        source: The model. `default` takes captcha-rt's own models, from the wheel on the server.
        out: The folder to make, in a model repository; the repository is made if needed.

    Returns:
        What was made and checked.

    Raises:
        ExportError: If Triton can't use the folder's name.
        ModelError: If the model can't be loaded, or the written model reads other texts.
        ImageDecodeError: If a picture can't be decoded.
        RecipeError: If the recipe can't use a picture.
        OSError: If the folder is there already, or can't be written.
    """
    try:
        check_name(out.name)
    except ValueError as error:
        raise ExportError(str(error)) from None
    model, samples = source.model(), spread(source.samples(), MAX_CHECKED)
    texts = write_triton(
        out,
        None if source.is_pair else model,
        samples,
        device=source.device,
        instances=source.instances,
    )
    return Taken(
        name=out.name,
        size=sum(file.stat().st_size for file in out.rglob("*") if file.is_file()),
        pictures=len(samples),
        same=len(samples),
        checked="the folder's model.py",
        usage=f"tritonserver --model-repository {out.parent}",
        only_answer=only_answer(texts),
    )
