"""Source of a model (a file, a ModelProto, a zoo entry, a module), read into model, graph and samples."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lhc.canonical import canonical, unresolved_control_flow, with_digital_columns
from lhc.errors import DataError, ModelError, OpenSizesError, UsageError
from lhc.graph import LayerGraph
from lhc.models import ZooEntry, is_zoo_name, nearest_zoo_name, zoo_entry, zoo_names
from lhc.models.export import export_module, is_module
from lhc.onnx_io import (
    Constants,
    Shape,
    example_shapes,
    infer_shapes,
    input_shapes,
    load_model,
    random_operators,
    read_graph,
    refuse_compiled,
    shape_option,
    static_batch,
    training_mode,
)
from lhc.onnx_io.read.shapes import refuse_giant
from lhc.onnx_io.rewrites.column_copies import copied_columns
from lhc.onnx_model import LoadedModelBase, ModelSource, OnnxModel
from lhc.options.data import Data, SampleSource, SomeSamples
from lhc.options.shared import ModelForm
from lhc.pipeline.inputs.sample_axis_detection import input_axes
from lhc.pipeline.inputs.samples import first_samples, load_task
from lhc.runtime.onnxruntime.sandboxed_open import probe
from lhc.runtime.onnxruntime.sessions import (
    Array,
    custom_operators,
    must_run,
    observe_tensors,
    plain_feeds,
    tensor_infos,
)
from lhc.samples.metrics import UNCHOSEN, Metric, get_metric
from lhc.samples.sample_axis import CALL
from lhc.samples.task import DataSource, Task
from lhc.support.number_formatting import counted, counted_samples

if TYPE_CHECKING:
    from lhc.plan import Plan

log = logging.getLogger("lhc")

_EVAL = "export it again after model.eval(), with training=torch.onnx.TrainingMode.EVAL where you set that"


@dataclass(frozen=True, eq=False)
class LoadedModel(LoadedModelBase):
    """A model, the zoo entry it came from, if any, and what it was before it was retrained, where it was.

    Attributes:
        before: the network before it was retrained.
        told: warnings about the network that were given already.
        dequantize: whether operators on integers are seen as products.
    """

    model: OnnxModel
    entry: ZooEntry | None
    before: "LoadedModel | None" = None
    told: set[str] = field(default_factory=set)
    dequantize: bool = False

    def split_as(self, plan: "Plan | None", undecided: bool = False) -> "LoadedModel":
        """The network with the layers split whose worst columns are digital in a plan; ``undecided``: or may be."""
        return self if plan is None else self.split_by(plan.digital_columns, undecided)

    def split_by(self, columns: Mapping[str, Sequence[int]], undecided: bool = False) -> "LoadedModel":
        """The network with these columns of its layers computed apart."""
        return replace(self, model=with_digital_columns(self.model, columns, undecided)) if columns else self

    def task(
        self, data: DataSource | None, metric: Metric | None, samples: int | None, reading: SampleSource | None = None
    ) -> Task:
        """The samples: the user's (or a zoo entry's, by name), else the model's own; the first ``samples`` of them.

        ``reading`` says how a file is read; its ``data`` is not read.

        Raises:
            UsageError: no data; an option of a text, and none.
            ModelError: an input that data files cannot hold; a network that is random; or a compiled model.
            DataError: data that does not fit the model.
        """
        refuse_compiled(self.model)
        self.caution(measured=True)
        if data is None:
            if self.entry is None:
                way = "give them with --data FILE.npz, or a name that lhc models lists"
                raise UsageError(f"{self.model.label}: samples are needed; {way}")
            data = self.entry.task()
        elif isinstance(data, str | Path) and is_zoo_name(str(data)) and not Path(data).exists():
            data = zoo_entry(str(data)).task()
        for info in tensor_infos(self.model):
            if not info.type.startswith("tensor("):
                raise ModelError(
                    f"{self.model.label}: input {info.name!r} is a {info.type or 'value of no known type'};"
                    " lhc feeds tensors only"
                )
        how = SampleSource() if reading is None else reading
        from lhc.pipeline.inputs.text_samples import is_text, refuse_options_of_text

        if is_text(data):
            data = self._text(Path(str(data)), how, samples)
        else:
            refuse_options_of_text(how)
        axes = input_axes(self.model, how.sample_axes)
        return load_task(data, self.model, metric, how.label_key, samples, self.warn, axes).head(samples)

    def _text(self, path: Path, how: SampleSource, samples: int | None) -> Task:
        """Windows of a text."""
        from lhc.pipeline.inputs.text_samples import text_samples

        made = text_samples(path, how, input_shapes(self.model), self.entry, samples)
        if made.short:
            self.warn(f"{counted(made.short, 'document')} of {path} left out: a single token leaves nothing to predict")
        return made.task

    def judging(self, options: Data, unless_chosen: Metric | None = None) -> Task:
        """The samples that options name, judged by their metric; ``unless_chosen``: where they name none."""
        name = options.metric
        if name is None and options.higher_is_better is not None:
            which = "--higher-is-better" if options.higher_is_better else "--lower-is-better"
            raise UsageError(f"{which} is of a function that --metric names as module:function; name it, or drop it")
        metric = unless_chosen if name is None else get_metric(name, options.higher_is_better)
        return self.chosen(options, metric)

    def chosen(self, options: SomeSamples, metric: Metric | None = UNCHOSEN) -> Task:
        """The samples that options name; fewer than were asked for are warned of."""
        task = options.of(self.task(options.data, metric, options.end, options))
        if options.samples is not None and len(task) < options.samples:
            found = counted_samples(len(task), task.document_count)
            after = f" after --skip {options.skip}" if options.skip else ""
            self.warn(f"--samples {options.samples}: the data holds only {found}{after}")
        return task

    def caution(self, measured: bool) -> None:
        """Warn, once, of a network that still trains or draws, or that nothing runs, and of a batch of 1 if measured.

        Raises:
            ModelError: it is to be measured, and it is random.
        """
        found = training_mode(self.model)
        if found.random:
            what = (
                f"{_operators(found.random, 'Dropout')} active, so its answers are random: it was exported in training"
                f" mode; {_EVAL}"
            )
            if measured:
                raise ModelError(f"{self.model.label}: {what}")
            self.warn(what)
        if found.batched:
            self.warn(
                f"{_operators(found.batched, 'BatchNormalization')} in training mode, so the answer to a sample"
                f" depends on the samples beside it; {_EVAL}"
            )
        if custom := custom_operators(self.model.proto):
            self.warn(f"{custom}. Until then no command can run it")
        drawing = random_operators(self.model)
        if drawing:
            which = f"{drawing[0].op_type} {drawing[0].name!r}".removesuffix(" ''")
            more = f" (and {len(drawing) - 1} more)" if len(drawing) > 1 else ""
            counts = ". Measured figures hold this noise too, beside that of tiles" if measured else ""
            self.warn(f"{which}{more} draws random numbers in every call, so two calls answer differently{counts}")
        if measured and static_batch(self.model) == 1:
            self.warn(
                "the file fixes a batch of 1, so every sample is a call of its own, several times slower"
                " (9 times with ResNet-8); export it with a symbolic batch, and two samples as its example:"
                ' torch.onnx.export(…, dynamic_shapes=({0: "batch"},)), or dynamic_axes={"INPUT": {0: "batch"}} with'
                " dynamo=False"
            )

    def warn(self, text: str) -> None:
        """Warn of something about the network, once."""
        told = self.told if self.before is None else self.before.told
        if text not in told:
            told.add(text)
            log.warning("%s: %s", self.model.label, text)

    def with_control(self, control: Mapping[str, str]) -> "LoadedModel":
        """The network for calls that take this (`Plan.control`), beside what it is for already."""
        if control.items() <= self.control.items():
            return self
        plain = replace(self.model, proto=self.model.as_file(), file=None)
        model = canonical(plain, self.dequantize, {**self.control, **control})
        return replace(self, model=with_digital_columns(model, self.model.digital_columns))

    def seen(self, task: Task) -> "LoadedModel":
        """The network for calls that take what the first samples take, where the file leaves that open.

        Others are refused when they are measured.
        """
        opened, before = self, self.control
        stepwise: set[str] = set()
        while asked := unresolved_control_flow(opened.model, self.dequantize):
            stepwise |= {name for name, choice in asked.items() if choice.axis is not None}
            feeds = _first_sample(opened.model, task)
            tensors = {question.tensor for question in asked.values()} - feeds.keys()
            try:
                found = observe_tensors(opened.model, sorted(tensors), feeds) | feeds
                told = {name: question.answer(found[question.tensor]) for name, question in asked.items()}
            except DataError as error:
                self.warn(f"which branches its samples take, or how many iterations or steps, cannot be told: {error}")
                break
            known, opened = opened.control, opened.with_control(told)
            if opened.control == known:
                break  # nothing more can be written out
        new = {name: taken for name, taken in opened.control.items() if name not in before}
        if new:
            ways = [_way_taken(name, taken, name in stepwise) for name, taken in new.items()]
            more = f" and {len(ways) - 3} more" if len(ways) > 3 else ""
            self.warn(f"placed for calls that take {', '.join(ways[:3])}{more}, as the first samples do")
        return opened

    def stepped(self, shapes: Mapping[str, tuple[int, ...]]) -> "LoadedModel":
        """The network written out for as many steps as inputs of these shapes have, where the file leaves them open.

        Without shapes, those of its entry in the zoo are taken. What only values tell stays open.
        """
        opened = self
        sizes = dict(shapes) or ({} if self.entry is None else dict(self.entry.shapes()))
        while asked := {
            n: q for n, q in unresolved_control_flow(opened.model, self.dequantize).items() if q.axis is not None
        }:
            try:
                known = infer_shapes(opened.model, sizes)
            except ModelError:
                break  # the graph says so
            found = {n: q.size_in(known.get(q.tensor)) for n, q in asked.items()}
            further = opened.with_control({n: str(size) for n, size in found.items() if size is not None})
            if further.control == opened.control:
                break
            opened = further
        return opened

    @property
    def control(self) -> dict[str, str]:
        """Control flow of the calls that it is for, where the file leaves it open (`Plan.control`)."""
        return {} if self.model.file is None else self.model.file.control

    def example_graph(self) -> LayerGraph:
        """The layer graph where sizes do not matter: those that the file leaves open are those of an example."""
        try:
            return self.graph()
        except OpenSizesError:
            return self.graph(example_shapes(self.model, {}))

    def graph_as_placed(self, plan: "Plan") -> LayerGraph:
        """The layer graph with the sizes of the calls that a plan of this network is for."""
        try:
            return self.graph(plan.shapes)
        except UsageError:  # of earlier inputs
            return self.graph()

    def graph(self, shapes: Mapping[str, tuple[int, ...]] | None = None, task: Task | None = None) -> LayerGraph:
        """The layer graph; shapes that inference cannot find are observed in one run.

        Args:
            shapes: full shapes of inputs; else the data's, with one sample; else the zoo entry's; else a symbolic batch
                counts 1.
            task: samples, for their shape; the first one is what is run.

        Raises:
            UsageError: a shape that contradicts the model.
            ModelError: MACs depend on a dimension that nothing fixes.
        """
        feeds = {} if shapes or task is None else _first_sample(self.model, task)
        given = dict(shapes or {}) or {name: array.shape for name, array in feeds.items()}
        if not given and self.entry is not None:
            given = dict(self.entry.shapes())
        axes = None if task is None else task.layout.inputs
        graph = read_graph(self.model, given, axes=axes)
        if graph.unresolved:
            observed = self._observed(graph, given, feeds)
            graph = read_graph(self.model, given, observed, axes=axes) if observed else graph
        if graph.nested:
            where = "in the bodies of If, Loop or Scan or in local functions; what lies there stays digital"
            what = counted(len(graph.nested), "operator that multiplies lies", "operators that multiply lie")
            self.warn(f"{what} {where}")
        self._warn_uncounted(graph)
        if copied := copied_columns(self.model):
            many = f"columns of {counted(len(copied), 'layer')} are written up to {max(copied.values())} times"
            self.warn(
                f"{many} (lhc widen): MACs, and costs of all digital, count every copy; compare costs with those of the"
                " network before"
            )
        return graph

    def _warn_uncounted(self, graph: LayerGraph) -> None:
        """Name what multiplies nobody knows how often: shares of MACs are of the rest."""
        left = [layer for layer in graph.multiplying if layer.work is not None and layer.work.missing is not None]
        for layer in left[:3]:
            self.warn(f"{layer.name}: {layer.refusal.detail if layer.refusal else 'its size is not known'}")
        if len(left) > 3:
            self.warn(f"and {len(left) - 3} more operators that are not counted")

    def _observed(
        self, graph: LayerGraph, given: Mapping[str, tuple[int, ...]], feeds: Mapping[str, Array]
    ) -> dict[str, tuple[int, ...]]:
        """Shapes that inference does not find, from one run: around products, and of what other operators write."""
        known = infer_shapes(self.model, given)
        sizes = {
            name: tuple(d if isinstance(d, int) else 1 for d in known.get(name, ()))
            for name in input_shapes(self.model)
        }
        if not feeds:
            self._refuse_open_sizes(graph, known)
        constants = Constants(self.model.proto.graph)
        wanted = {t for layer in graph.unresolved for t in (*layer.inputs, *filter(None, layer.outputs[:1]))}
        wanted |= {t for layer in graph.layers if layer.size_unknown for t in filter(None, layer.outputs)}
        inner = sorted(t for t in wanted if graph.producer(t) and not constants.is_stored(t))
        try:
            observed = self._run(inner, feeds, sizes)
        except (DataError, ModelError) as error:
            if not any(layer.is_candidate for layer in graph.unresolved):
                self.warn(f"sizes in it are only known when it runs, and it does not: {error}")
                return {}
            if feeds or isinstance(error, ModelError):
                raise
            raise ModelError(
                f"{self.model.label}: sizes in it are only known when it runs, and it does not run on zeros; give"
                f" samples (--data), or its shapes (--shape): {error}"
            ) from error
        return {name: array.shape for name, array in observed.items()} | sizes

    def _run(
        self, tensors: Sequence[str], feeds: Mapping[str, Array], sizes: Mapping[str, tuple[int, ...]]
    ) -> Mapping[str, Array]:
        """One run on the samples, else on zeros, else on ones: masks and lengths of 0 are refused by some operators."""
        if feeds:
            return observe_tensors(self.model, tensors, feeds, packs=False)
        try:
            return observe_tensors(self.model, tensors, plain_feeds(self.model, sizes), packs=False)
        except DataError as error:
            try:
                return observe_tensors(self.model, tensors, plain_feeds(self.model, sizes, 1), packs=False)
            except DataError:
                raise error from None

    def _refuse_open_sizes(self, graph: LayerGraph, known: Mapping[str, Shape]) -> None:
        """A run needs sizes, and MACs would be those of a size that nobody gave."""
        for name in input_shapes(self.model):
            shape = known.get(name, ())
            if not all(isinstance(dim, int) for dim in shape):
                first = graph.unresolved[0]
                raise OpenSizesError(
                    f"{self.model.label}: MACs of {first.op_type} {first.name!r} depend on symbolic dimensions of input"
                    f" {name!r}; give the shape, e.g. {shape_option(name, shape)}"
                )


def _way_taken(name: str, taken: str, is_stepwise: bool) -> str:
    """A branch of an If, iterations of a Loop, or steps along an axis of a recurrent operator or a Scan."""
    if not taken.isdigit():
        return f"the {taken} of {name!r}"
    return f"{taken} {'steps' if is_stepwise else 'iterations'} of {name!r}"


def _operators(names: Sequence[str], kind: str) -> str:
    """``Dropout 'drop1' is``, or ``2 operators Dropout, e.g. 'drop1', are``."""
    if len(names) == 1:
        return f"{kind} {names[0]!r} is"
    return f"{len(names)} operators {kind}, e.g. {names[0]!r}, are"


def _first_sample(model: OnnxModel, task: Task) -> dict[str, Array]:
    """The first samples, as many as the model takes at once."""
    declared, axes = input_shapes(model), task.layout.inputs
    others = static_batch(model, axes) or 1
    _, first = next(task.blocks(1))
    samples = {}
    for name, array in first.items():
        shape, axis = declared[name] or (), axes.get(name, 0)
        size = shape[axis] if axis != CALL and axis < len(shape) else None
        batch = 1 if task.layout.one_a_call else size if isinstance(size, int) else others
        refuse_giant(model.label, name, (batch, *array.shape[1:]))
        samples[name] = np.repeat(array, batch, axis=0) if array.ndim else array
    return dict(task.layout.feeds(samples))


def loaded_model(options: ModelForm) -> LoadedModel:
    """The network that options name; a module is exported on the samples that they name."""
    if isinstance(options, SampleSource):
        return open_model(options.model, options.data, options.label_key, options.dequantize)
    return open_model(options.model, dequantize=options.dequantize)


def open_model(
    source: ModelSource, data: DataSource | None = None, label_key: str = "labels", dequantize: bool = False
) -> LoadedModel:
    """A model by path or zoo name, a ModelProto or onnx-ir model, a module, or one that was loaded or opened before.

    Args:
        data: samples; a PyTorch module is exported on the first two of them.
        dequantize: see operators on integers as products of their dequantised weights.

    Raises:
        ModelError: it cannot be read or exported.
        UsageError: a module without samples, or with samples that are not its inputs.
    """
    if isinstance(source, LoadedModelBase):
        assert isinstance(source, LoadedModel)
        return source
    if is_module(source):
        name = type(source).__name__
        if data is None:
            raise UsageError(f"{name}: a PyTorch module is exported on samples; give some as data")
        exported = load_model(export_module(source, first_samples(data, label_key)), label=name)
        return LoadedModel(canonical(exported, dequantize), None, dequantize=dequantize)
    if isinstance(source, str) and is_zoo_name(source) and not Path(source).is_file():
        entry = zoo_entry(source)
        network = load_model(entry.network(), label=source)
        return LoadedModel(canonical(network, dequantize), entry, dequantize=dequantize)
    if isinstance(source, str) and not Path(source).exists() and not Path(source).suffix:
        near = nearest_zoo_name(source)
        hint = "" if near is None else f"; did you mean {near!r}?"
        raise ModelError(f"{source}: no such file, and no model of the zoo ({', '.join(zoo_names())}){hint}")
    opened = LoadedModel(
        canonical(load_model(source, probe=probe, runs=must_run), dequantize), None, dequantize=dequantize
    )
    if opened.model.complaint is not None:
        opened.warn(f"onnx.checker refuses it, and onnxruntime runs it, so lhc takes it: {opened.model.complaint}")
    return opened
