"""A run's report: an HTML page with its plots."""

from captcha_rt_train.report.page import write_report
from captcha_rt_train.report.plots import Curves

__all__ = ["Curves", "write_report"]
