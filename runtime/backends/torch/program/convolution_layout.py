"""Let torch's compiler lay out the outputs of int8 convolutions as their kernel writes them."""

import contextlib
from collections.abc import Iterator
from typing import Any

_IMAGES = 4


@contextlib.contextmanager
def channels_last() -> Iterator[None]:
    """Have inductor take the output of every int8 convolution of images for channels-last while the block runs.

    oneDNN's kernel always writes so. Inductor (torch 2.13) says channels-first where the batch is free and the input is
    contiguous as well, as images of one channel are: what follows then reads every number from a wrong place.
    """
    from torch._inductor import mkldnn_ir

    prepare = mkldnn_ir._prepare_convolution_fusion_create

    def prepared(*given: Any, **named: Any) -> Any:
        inputs, constants, layout, *others = prepare(*given, **named)
        # An int8 convolution is the one that comes with scales: the eleventh argument.
        scales = given[10] if len(given) > 10 else named.get("quantize_args")
        if scales is not None and len(layout.size) == _IMAGES:
            strides = mkldnn_ir.make_channels_last_strides_for(layout.size)
            layout = mkldnn_ir.FixedLayout(layout.device, layout.dtype, layout.size, strides)
        return (inputs, constants, layout, *others)

    mkldnn_ir._prepare_convolution_fusion_create = prepared
    try:
        yield
    finally:
        mkldnn_ir._prepare_convolution_fusion_create = prepare
