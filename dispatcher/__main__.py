"""`python -m dispatcher` is `oss-dispatcher`."""

from dispatcher.cli.main import main

if __name__ == "__main__":
    main()
