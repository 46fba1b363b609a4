"""What PyInstaller can't see of captcha-rt: models, modules imported by name, and metadata."""

from importlib.metadata import PackageNotFoundError

from PyInstaller.utils.hooks import collect_data_files, collect_submodules, copy_metadata

hiddenimports = collect_submodules("captcha_rt", lambda name: "_pyinstaller" not in name)
datas = collect_data_files("captcha_rt", excludes=["_pyinstaller"])
datas += collect_data_files(  # `deploy` copies it as it is
    "captcha_rt.deploy", include_py_files=True, includes=["triton_model.py"]
)
for name in ("captcha-rt", "numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu"):
    try:  # which onnxruntime is installed is read from the metadata
        datas += copy_metadata(name)
    except PackageNotFoundError:
        continue
