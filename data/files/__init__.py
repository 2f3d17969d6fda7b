"""Files that outlive a crash and are read as they were written: whole, sealed by a hash, and under allowed names."""
