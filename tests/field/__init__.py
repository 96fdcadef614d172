"""Files as people have them, each as it comes out of a program that many use."""
