"""`GET /openapi.json`: the control API, for programs that make clients, forms or tests of such a document."""
