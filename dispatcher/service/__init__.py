"""Services: intake, worker, upkeep, and the daemon that runs them."""
