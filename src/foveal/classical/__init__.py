"""What was done before convolutional networks, to compare with. Import the functions from their own modules."""
