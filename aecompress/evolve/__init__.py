"""Evolution: populations of autoencoders that train, are selected and are pruned. Knows no files."""
