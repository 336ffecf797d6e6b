"""What only several machines show, here several workers on one: a campaign that goes on when one of them dies."""
