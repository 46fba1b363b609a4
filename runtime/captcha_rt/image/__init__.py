"""Decodes pictures, without trust in them.

OpenCV does the decoding. But OpenCV allocates whatever a header claims (1.7 GB for a PNG of
109 kB), opens some twenty formats, reads damaged files in part, and prints complaints on the native
stderr. So for each of five formats a module walks the file's structure first. It checks that the
file is whole and not too large, and passes on only the parts that make pixels.
"""

from captcha_rt.image.checked import MAX_BYTES as MAX_BYTES
from captcha_rt.image.checked import MAX_PIXELS as MAX_PIXELS
from captcha_rt.image.checked import MAX_SIDE as MAX_SIDE
from captcha_rt.image.decode import Fits as Fits
from captcha_rt.image.decode import ImageSource, decode_image
from captcha_rt.image.decode import Merge as Merge
from captcha_rt.image.decode import Opened as Opened
from captcha_rt.image.decode import open_image as open_image
from captcha_rt.image.texts import shortened as shortened

__all__ = ["ImageSource", "decode_image"]
