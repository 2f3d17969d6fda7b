"""Where actor and learner meet: the schema they agree on, the bytes of rows and of weights, and the gRPC service."""

PROTOCOL_MIN, PROTOCOL_MAX = 1, 2  # versions of warmloop.proto that this code speaks
SHARED_PICTURES = 2  # the first that has them
MIB = 1 << 20
END_OF_NUMBERS = 1 << 48  # of a stream's rows: a robot at 1 kHz needs 9,000 years
