"""The latent features: their basis, and what replaces them."""
