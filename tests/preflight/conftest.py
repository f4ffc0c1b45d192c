import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from nano import nano, nano_root  # noqa: F401
