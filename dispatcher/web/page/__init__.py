"""The operator's page, and the API with the same documents as JSON: both on the operator's listener."""
