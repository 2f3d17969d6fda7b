"""The desk: where a running process shows how it is, and hears a person's words, from processes of the same user on the same machine."""
