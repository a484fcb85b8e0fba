"""The estimators that hold networks: autoencoder and classifiers."""
