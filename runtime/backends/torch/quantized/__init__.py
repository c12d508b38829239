"""Layers that hold fewer bits than torch's own, how modules come by them, and what is done to a module before."""
