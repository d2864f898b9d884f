"""`python -m miniagents`: the same command as `miniagents`."""

from miniagents.cli import main

if __name__ == "__main__":
    main()
