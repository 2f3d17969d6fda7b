"""HDF5 files, each part checked before the library is let loose on it."""
