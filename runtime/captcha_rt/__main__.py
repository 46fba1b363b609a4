"""`python -m captcha_rt` is the command `captcha-rt`."""

from captcha_rt.cli import main

main()
