"""`python -m farm_merge` is the command `farm-merge`."""

from farm_merge.cli import main

if __name__ == "__main__":  # and not where MPI's workers import it
    main()
