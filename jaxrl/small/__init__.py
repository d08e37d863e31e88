"""Small policies that start from nothing: their words, templates and sizes."""
