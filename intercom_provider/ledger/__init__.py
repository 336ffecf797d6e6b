"""What was sent, kept where a retry, another run and a cleared task find it."""
