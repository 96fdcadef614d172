"""Tests of modules of torch that are read by their exported graph."""
