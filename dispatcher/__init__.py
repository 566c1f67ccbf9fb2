"""oss-dispatcher: every new object in a bucket starts the workflows bound to its path, once."""

__version__ = "0.1.0"
