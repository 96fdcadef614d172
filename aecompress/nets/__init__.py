"""Networks: layers on stacked weights, and the autoencoders built from them."""
