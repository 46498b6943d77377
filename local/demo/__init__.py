"""The demo: a shop's table, its changes followed live, and a verdict by none of the code it judges."""
