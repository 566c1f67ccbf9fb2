"""Backfills: what lies in a bucket already, through the same rules, ledger and limiter as what is live."""
