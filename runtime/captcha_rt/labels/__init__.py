"""Reads the labels of a folder of pictures, in whatever form they come."""

from captcha_rt.labels.folders import AUTO, FORMS_HELP, Labels, pictures_of, read_labels

__all__ = ["AUTO", "FORMS_HELP", "Labels", "pictures_of", "read_labels"]
