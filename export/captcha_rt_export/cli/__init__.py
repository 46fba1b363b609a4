"""The command `captcha-rt export`."""
