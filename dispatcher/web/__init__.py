"""What listens: the public listener for notifications that are pushed to us."""
