"""Memory among the models: grants, the ledger, the governor that carries out the policy's decisions."""
