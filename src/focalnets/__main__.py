"""``python -m focalnets``."""

import sys

from focalnets.cli.main import main

sys.exit(main())
