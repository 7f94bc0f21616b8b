"""`python -m collector` is `podwitness`."""

import sys

from collector.cli import main

sys.exit(main())
