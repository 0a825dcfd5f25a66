"""What a recipe learns from and is measured on, by kind: running text, rows of text, labelled examples."""
