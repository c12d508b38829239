"""Where the tests of images find the writers of image files, which owe nothing to what reads them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
