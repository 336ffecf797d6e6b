"""The DAGs of these tests."""
