"""A local IMS endpoint for the demo, the tests and users' CI: strict about signatures, and failing on purpose."""
