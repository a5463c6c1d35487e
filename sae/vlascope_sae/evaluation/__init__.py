"""How good an autoencoder is, on episodes that it was not trained on."""
