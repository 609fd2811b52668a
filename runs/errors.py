"""What a service refuses, with a code for programs and a sentence for people."""

from __future__ import annotations


class Refused(Exception):
    """An act is not possible now; the message is a sentence for the person who asked."""

    code = "refused"
