"""Run the command line as ``python -m nablafx_core``, for example under torchrun."""

from nablafx_core.cli import main

main()
