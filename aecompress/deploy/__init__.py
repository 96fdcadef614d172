"""Deployment: plain names and arrays in, files proved equal out. Knows no evolution and no torch."""
