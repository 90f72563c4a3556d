"""Recipes, and the way from a recipe to an image."""
