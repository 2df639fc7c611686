"""The journey tracker: where every customer of a webshop is on their journey, in real time."""
