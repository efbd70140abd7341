"""Visual recognition with convolutional networks."""
