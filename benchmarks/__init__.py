"""What this provider costs beside what one would write instead: `make bench`."""
