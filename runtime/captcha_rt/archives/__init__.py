"""Archives of labelled pictures: unpacks a zip or tar file into a folder, once and safely."""

from captcha_rt.archives.unpack import Unpacked, is_archive, unpack

__all__ = ["Unpacked", "is_archive", "unpack"]
