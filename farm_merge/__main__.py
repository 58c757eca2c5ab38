"""`python -m farm_merge` is the command `farm-merge`."""

from farm_merge.cli import main

main()
