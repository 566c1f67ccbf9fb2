"""The service's actions by family: parameters checked as the documentation states them, and answers in its form."""
