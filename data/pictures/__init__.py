"""Pictures: what counts as one, several on one sheet, and the ffmpeg that makes films of them."""
