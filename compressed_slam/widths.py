"""How many channels each layer of DROID-SLAM's networks has."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, PositiveInt

_Pair = tuple[PositiveInt, PositiveInt]


class EncoderWidths(BaseModel):
    """Channels of an encoder.

    Attributes:
        stages: sums of the residual blocks of layer1, layer2 and layer3; conv1 has the first.
        inner: between the two convolutions of a block, for both blocks of every stage.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    stages: tuple[PositiveInt, PositiveInt, PositiveInt] = (32, 64, 128)
    inner: tuple[_Pair, _Pair, _Pair] = ((32, 32), (64, 64), (128, 128))


class DroidConfig(BaseModel):
    """Channels of DROID-SLAM's networks; the defaults are what was published.

    Attributes:
        features: of fnet's maps, which correlation compares.
        hidden: of the recurrent unit's state `net`, which cnet starts.
        context: of cnet's other maps `inp`, which every update sees.
        delta: of the layer between the state and the revision of the flow; `weight` likewise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fnet: EncoderWidths = EncoderWidths()
    cnet: EncoderWidths = EncoderWidths()
    features: PositiveInt = 128
    hidden: PositiveInt = 128
    context: PositiveInt = 128
    corr_encoder: _Pair = (128, 128)
    flow_encoder: _Pair = (128, 64)
    delta: PositiveInt = 128
    weight: PositiveInt = 128
    agg: _Pair = (128, 128)
