"""The operator's desk: what the page and its API show and change, by the same functions as the commands."""
