class PhantomError(Exception):
    """A miniature that cannot be made; the message says why and what to do."""
