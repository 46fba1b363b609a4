"""What several tests of training share."""

from pathlib import Path

import pytest

from captcha_rt_train.generators.mixture.faces import default_faces


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The faces that come with matplotlib, in a file."""
    file = tmp_path_factory.mktemp("fonts") / "faces.npz"
    default_faces().save(file)
    return file
