"""Converts Keras-trained text-captcha readers to one ONNX file for captcha-rt."""
