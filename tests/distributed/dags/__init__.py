"""DAGs that are no examples."""
