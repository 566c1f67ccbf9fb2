"""The documents for programs, one function for each shape of the contract: commands print them, the API serves them."""
