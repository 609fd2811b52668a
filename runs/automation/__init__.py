"""What requests runs by itself: inbound hooks and event rules.

No Django here: the web process reads the limit before it starts.
"""

# Bytes of the largest body that any hook can accept.
LARGEST_BODY = 1024 * 1024
# Bytes of the body of a posted event, and of a message to a hook, that event rules can read: it is stored.
LARGEST_EVENT = 16 * 1024
