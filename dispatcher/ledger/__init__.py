"""The ledger: tables, migrations, and all the SQL of the program."""
