"""Meta-Rewarding (Wu et al. 2024, arXiv 2407.19594) as a data pipeline."""

import os
import sys

if not sys.stderr.isatty():  # a progress line now and then where it goes to a log; tqdm reads this when it is imported
    os.environ.setdefault("TQDM_MININTERVAL", "20")
# PyTorch's threads wait for one another in a loop before they sleep. Where another program has taken the core of one,
# the others turn in that loop meanwhile (docs/speed.md, Beside other programs). libgomp reads this when it is loaded.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
