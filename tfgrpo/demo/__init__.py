"""The main job on a small task set that ships with the package."""
