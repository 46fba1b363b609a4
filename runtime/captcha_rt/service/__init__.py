"""The HTTP service: `captcha-rt serve`, with the extra `serve`. Nothing else imports it."""
