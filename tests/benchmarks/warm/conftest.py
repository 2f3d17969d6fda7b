"""The bench's modules import each other by their names, as scripts of one folder do."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
