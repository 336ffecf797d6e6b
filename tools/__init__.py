"""Programs for the upkeep of this project. They are not part of the package."""
