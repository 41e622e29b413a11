"""The pages of a diagnosis: words, cards, figures, templates."""
