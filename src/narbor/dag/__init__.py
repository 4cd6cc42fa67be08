"""A store item as an IPLD DAG: where it is cut, how it is built, how it is read back. Pure."""
