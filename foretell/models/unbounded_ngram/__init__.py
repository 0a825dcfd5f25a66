"""n-grams of unbounded order: suffix arrays with Kneser-Ney counts."""
