"""Reads the labels of a folder of pictures, in whatever form they come."""

from captcha_rt.labels.files import find_label_file
from captcha_rt.labels.folders import AUTO, FORMS_HELP, pictures_of, read_labels
from captcha_rt.labels.matching import NO_ROW
from captcha_rt.labels.result import Labels
from captcha_rt.labels.stems import parse_form

__all__ = [
    "AUTO",
    "FORMS_HELP",
    "NO_ROW",
    "Labels",
    "find_label_file",
    "parse_form",
    "pictures_of",
    "read_labels",
]
