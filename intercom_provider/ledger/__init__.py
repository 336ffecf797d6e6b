"""Records of what was sent, which a retry, another run and a cleared task can read."""
