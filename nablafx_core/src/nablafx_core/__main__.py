"""Run the command line as ``python -m nablafx_core``, for torchrun."""

from nablafx_core.cli import main

main()
