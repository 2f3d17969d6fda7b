"""TD-MPC2's model in a latent space, and planning in it."""
