"""What is measured, and against what: `python -m bench`. Ratios of things measured in one run, never bare numbers."""
