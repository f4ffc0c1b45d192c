"""`python -m loragrid`."""

import sys

from loragrid.cli import main

sys.exit(main())
