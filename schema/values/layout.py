"""How the weights of convolutions may lie in memory, besides contiguous."""

from typing import Final

# The channels of a place side by side.
CHANNELS_LAST: Final = "channels_last"
# The types of torch modules that it is for: over two or three dimensions.
CONVOLUTIONS = ("Conv2d", "Conv3d", "ConvTranspose2d", "ConvTranspose3d")
