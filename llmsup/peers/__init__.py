"""Other servers whose models are served here, too: what each offers, whether it answers, and who gets a request."""
