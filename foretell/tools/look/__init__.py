"""Commands that inspect runs, recipes and corpora."""
