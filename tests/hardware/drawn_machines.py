"""Hardware descriptions that hypothesis draws."""

from hypothesis import strategies as st

from lhc.hardware import (
    Adc,
    Dac,
    Devices,
    Hardware,
    Hermes,
    LeftOut,
    Mapping,
    Measured,
    Override,
    Pcm,
    PcmCustomDrift,
    ReramCmo,
    ReramWan2022,
    StateIndependent,
    Tiles,
    Training,
)
from lhc.hardware.circuits.currents import Currents
from lhc.hardware.description.tiles_and_converters import Compensation
from lhc.support.number_bounds import SMALLEST


def numbers(least: float, most: float) -> st.SearchStrategy[float]:
    """0, or of a magnitude that descriptions may have."""
    return st.floats(least, most).map(lambda value: value if abs(value) >= SMALLEST else 0.0)


positive = st.floats(1e-9, 1e6)
sizes = st.integers(1, 4096)
# Control characters and line separators are not kept by YAML.
words = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=8)
scales = st.just(0.0) | positive
coefficients = st.lists(numbers(-10, 10), min_size=1, max_size=4).map(tuple)


@st.composite
def custom_drifts(draw: st.DrawFn) -> PcmCustomDrift:
    g_max = draw(positive)
    table = draw(st.lists(st.tuples(numbers(0, 1), numbers(0, 1)), min_size=2, max_size=4))
    means, deviations = zip(*table, strict=True)
    g = (0.0, *(g_max * (1 + i) for i in range(len(table) - 1)))
    return PcmCustomDrift(
        g_max_us=g_max, programming_g_max_us=25.0, drift_g_us=g, drift_nu_mean=means, drift_nu_std=deviations
    )


MEASURED = Measured(
    g_max_us=10,
    targets_us=(0, 10),
    t_0_s=1,
    times_s=(0, 1e6),
    mean_us=((0, 10), (0, 6)),
    std_us=((1, 1), (3, 3)),
    correlation=(((1, 0.5), (0.5, 1)),) * 2,
    read_us=(0, 0.1),
)
device_models: st.SearchStrategy[Devices | None] = st.one_of(
    st.none(),
    st.builds(
        lambda share, **fields: Pcm(g_min_us=share * fields["g_max_us"], **fields),
        share=st.sampled_from([0.0, 0.25]),
        pair=st.sampled_from(["one-sided", "two-sided"]),
        g_max_us=positive,
        drift_scale=scales,
        programming_coefficients_us=coefficients,
        programming_g_max_us=positive,
        t_0_s=positive,
    ),
    custom_drifts(),
    st.just(MEASURED),
    st.builds(Hermes, g_max_us=st.floats(1, 10), num_devices=st.sampled_from([1, 2]), read_noise_scale=scales),
    st.builds(ReramCmo, g_min_us=numbers(0, 50), acceptance_range_percent=st.sampled_from([0.2, 2.0])),
    st.builds(ReramWan2022, g_max_us=positive, noise_scale=scales),
    st.builds(StateIndependent, g_max_us=positive, drift_nu_std=scales, programming_coefficients_us=coefficients),
)
overrides = st.builds(
    Override,
    layers=st.sampled_from(["conv*", "fc[0-9]*", "x"]),
    adc=st.fixed_dictionaries({}, optional={"noise": scales, "bits": st.integers(2, 24)}),
    devices=st.none()
    | st.just({})
    | st.fixed_dictionaries({"model": st.just("pcm"), "g_min_us": st.just(0.0), "g_max_us": positive}),
    compensation=st.fixed_dictionaries({}, optional={"drift": st.sampled_from(["global", "per-column", "none"])}),
)
descriptions = st.builds(
    Hardware,
    name=words,
    description=words,
    left_out=st.lists(st.builds(LeftOut, name=words, size=words, text=words), max_size=2).map(tuple),
    tiles=st.builds(Tiles, rows=sizes, cols=sizes, count=st.none() | sizes),
    dac=st.builds(
        Dac,
        bits=st.none() | st.integers(2, 24),
        bound=positive,
        scaling=st.sampled_from(["abs_max", "static", "none"]),
        range_quantile=st.floats(0.5, 1),
    ),
    adc=st.builds(
        Adc,
        bits=st.none() | st.integers(2, 24),
        bound=positive,
        noise=scales,
        bound_management=st.sampled_from(["iterative", "none"]),
    ),
    currents=st.builds(
        Currents,
        read_noise=scales,
        read_noise_kind=st.sampled_from(["current", "constant"]),
        ir_drop=scales,
        ir_drop_g_ratio=positive,
    ),
    mapping=st.builds(Mapping, omega=st.floats(1e-3, 1), columnwise=st.booleans()),
    devices=device_models,
    compensation=st.builds(
        Compensation,
        drift=st.sampled_from(["global", "global-exact", "per-column", "none"]),
        copies=st.booleans(),
        outputs=st.sampled_from(["affine", "offset", "none"]),
        samples=st.integers(1, 1000),
        reads=st.integers(1, 9),
    ),
    t_inference_s=st.sampled_from([1.0, 86400.0, 172800.0]),
    training=st.builds(
        Training,
        weight_noise=scales,
        weight_noise_type=st.sampled_from(["multiplicative", "additive"]),
        clip=st.none() | positive,
        clip_sigma=st.none() | positive,
        remap=st.sampled_from(["channelwise", "layerwise", "none"]),
        out_scaling=st.sampled_from(["columnwise", "tile", "none"]),
    ),
)
machines = st.builds(
    lambda machine, changes: machine.model_copy(update={"overrides": tuple(changes)}),
    descriptions,
    st.lists(overrides, max_size=2),
)
