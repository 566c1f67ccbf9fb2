"""The demo: the real program on a real S3 server and the simulator, all on loopback."""
