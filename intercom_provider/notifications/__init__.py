"""The notifier, which sends alerts."""
