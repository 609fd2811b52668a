"""What requests runs by itself: inbound hooks. No Django here: the web process reads the limit before it starts."""

# Bytes of the largest body that any hook can accept.
LARGEST_BODY = 1024 * 1024
