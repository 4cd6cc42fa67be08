"""The DAG room."""
