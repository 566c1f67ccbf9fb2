"""A local Intelligent Media Services endpoint that verifies signatures and fails on purpose."""
