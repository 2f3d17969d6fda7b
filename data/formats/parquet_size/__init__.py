"""How much memory a Parquet file takes: told before anything of it is unpacked."""
