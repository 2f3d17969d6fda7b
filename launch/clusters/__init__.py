"""`warmloop cluster`: a run's processes on the nodes of a Ray cluster, placed, watched and started again."""
