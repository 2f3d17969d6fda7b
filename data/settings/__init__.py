"""What a person or a file says in plain values, as typed settings; and the known name that an unknown one is nearest to."""
