"""Small networks that the compact policy, the compact world model, the adapters and the residual are made of."""
