"""`python -m jackfield_cli` is `jackfield`."""

from __future__ import annotations

import sys

from jackfield_cli.main import main

if __name__ == "__main__":
    sys.exit(main())
