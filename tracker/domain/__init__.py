"""What a journey is: pure rules, no clock, no randomness, no input or output."""
