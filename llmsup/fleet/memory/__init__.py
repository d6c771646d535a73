"""Memory shared among the models: grants, their ledger, and the governor that carries out the policy's decisions."""
