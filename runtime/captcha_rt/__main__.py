"""`python -m captcha_rt` is the command `captcha-rt`."""

import sys

try:
    from captcha_rt.cli import main
except KeyboardInterrupt:  # nothing has been started yet
    sys.exit(130)

main()
