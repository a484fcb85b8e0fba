"""SHAP values of the identity decision over the latent features."""
