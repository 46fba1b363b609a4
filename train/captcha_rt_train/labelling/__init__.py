"""The local page on which people label pictures: `captcha-rt label`."""
