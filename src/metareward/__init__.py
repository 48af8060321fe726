"""Meta-Rewarding (Wu et al. 2024, arXiv 2407.19594) as a data pipeline."""

import os
import sys

if not sys.stderr.isatty():  # a progress line now and then where it goes to a log; tqdm reads this when it is imported
    os.environ.setdefault("TQDM_MININTERVAL", "20")
