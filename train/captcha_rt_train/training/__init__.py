"""Training: the plan, the epochs, the calibration, and the ensemble of document 001."""

from captcha_rt_export.backend import set_up_keras

set_up_keras()  # before the modules of this package import Keras
