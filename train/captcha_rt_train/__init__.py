"""Trains text-captcha readers in Keras 3, for captcha-rt to run without it."""
