"""Training of the tiny models that come with nsd-phantom; nothing else imports this folder."""
