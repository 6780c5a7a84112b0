"""A core with tightly coupled tiles (ALPINE; Klein et al., IEEE TC 72(7), 2023).

Symbols: R rows, C columns, G groups, P positions of a layer; k copies or slices of a matrix take ``r`` tiles in height.
Slices of inputs are products and outputs of their own.
Latency of an analog layer, in ns (facts of ALPINE's code, the core's work added):

    P · G · (ceil(k · R / 4) + t · 100 + r · ceil(C / 4)) + cycles of the core / clock

with t tiles driven per product of one group: all of its tiles, or 1 where they work in parallel. Inputs are gathered
and quantised once for all copies; tiles deliver their outputs each, and the core adds them up. A digital layer takes
``MACs / macs_per_cycle`` cycles in int8, in other formats the multiple that section ``digital`` says, and waits for its
weights where these do not fit in the cache. The core draws its active power while it works or moves data, its waiting
power while it waits. Where every tile has a link of its own, those of a product move their inputs, and then their
outputs, all at once.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lhc.costs.digital_operators import Handling
from lhc.costs.models.registry import Power, formulas, power_of, schedule_of, work_of
from lhc.costs.number_formats import NumberFormat, NumberFormats
from lhc.costs.units import Cost, LayerCost, Unit
from lhc.graph import Layer, LayerGraph, MatrixShape, Work
from lhc.hardware import AlpineCosts, Hardware
from lhc.hardware.converters import repeated_reads

WORD_BYTES = 4
"""Moved by one instruction between core and tile."""


@dataclass(frozen=True)
class Alpine:
    """Costs of operators on such a machine.

    Attributes:
        hardware: the machine.
        costs: its numbers.
        holders: number of products that have the weights of each, itself included: the steps of a recurrent operator.
        resident: whether the weights of all products fit in the cache together.
    """

    hardware: Hardware
    costs: AlpineCosts
    holders: Mapping[str, int]
    resident: bool

    def analog(self, layer: Layer, matrix: MatrixShape, copies: int, sums: Sequence[float] | None) -> LayerCost:
        """A layer on tiles, by what is done: work of the core, transfers, products."""
        core, tile = self.costs.core, self.costs.tile
        machine = self.hardware.for_layer(layer.name)
        height = machine.tile_rows(matrix.rows, copies)
        vectors = matrix.positions * matrix.groups
        reads = height * len(machine.dac.reads)
        driven = matrix.positions * height * self._columns(matrix)
        products = driven * len(machine.dac.reads)
        inputs, outputs = vectors * matrix.rows, vectors * matrix.cols
        scaled = machine.dac.scaling == "abs_max"
        gathered = inputs if math.prod(layer.kernel) > 1 else 0  # a kernel of one pixel needs no im2col
        rounds = products if tile.schedule == "serial" else vectors * len(machine.dac.reads)
        into = self._transfer(vectors, copies * machine.mapping.slices * matrix.rows, machine.dac.bits, height)
        links = height * self._columns(matrix) / matrix.groups
        out_of = self._transfer(vectors * reads, matrix.cols, machine.adc.bits, links)
        once = {
            "quantise": self._work(inputs * core.quantise_cycles),
            "input": into,
            "product": self._products(machine, products, rounds),
            "core waiting": self._waiting_for(rounds),
            "output": out_of,
            "rescale": self._work(outputs * reads * core.rescale_cycles),
        }
        again = self._repeated(machine, matrix, copies, sums)
        parts = {
            "im2col": self._work(gathered * core.gather_cycles),
            "scaling": self._work((inputs * core.maximum_cycles + driven * core.division_cycles) * scaled),
            **once,
            "partial sums": self._work(outputs * (reads - 1) * core.add_cycles),
            "re-reads": sum((part.times(again) for part in once.values()), Cost()),
            "read-outs": self._readouts(machine, matrix, copies).times(1 / self.holders.get(layer.name, 1)),
        }
        if machine.offset > 0:  # the sum of the inputs, and what it is subtracted from
            parts["offsets"] = self._work((inputs + outputs * reads) * core.add_cycles)
        busy: dict[Unit, float] = {"tiles": (1 + again) * once["product"].latency_s}
        if tile.links == "own":
            busy["links"] = (1 + again) * (into.latency_s + out_of.latency_s)
        return LayerCost(parts, busy)

    def _repeated(self, machine: Hardware, matrix: MatrixShape, copies: int, sums: Sequence[float] | None) -> float:
        """Products that bound management repeats, as a share of all."""
        if not machine.adc.reads_again:
            return 0.0
        added = copies * machine.tile_rows(matrix.rows, 1) / machine.tile_rows(matrix.rows, copies)
        if sums is not None:
            return repeated_reads(machine, sums, added)
        # Every doubling beyond two copies brings one more: more than in any layer that was measured (docs/costs.md).
        return max(self.costs.tile.reread_share, math.log2(added) - 1)

    def digital(self, layer: Layer, work: Work, numbers: NumberFormat) -> LayerCost:
        """The products of an operator on the core; weights are fetched once a sample, for all that share them."""
        cycles = numbers.cycles * (work.macs + work.activation_macs) / self.costs.core.macs_per_cycle
        parts = {"product": self._work(cycles)}
        busy: dict[Unit, float] = {}
        if work.parameters and not self.resident:
            memory = self.costs.memory
            fetched = work.parameters * numbers.bytes / self.holders.get(layer.name, 1)
            seconds = fetched / memory.dram_gb_per_s * 1e-9
            parts["weights"] = Cost(seconds, self._waiting(seconds) + fetched * memory.dram_pj_per_byte * 1e-12)
            busy["memory"] = seconds
        return LayerCost(parts, busy)

    def other(self, layer: Layer, handling: Handling) -> LayerCost:
        """An operator that is no product; its part has the name of its type."""
        core = self.costs.core
        cycles = core.function_cycles if handling.function else core.elementwise_cycles
        return LayerCost({layer.op_type: self._work(handling.elements * cycles)})

    @property
    def crossing(self) -> Cost:
        """Conversion of one element."""
        return self._work(self.costs.core.convert_cycles)

    def _work(self, cycles: float) -> Cost:
        core = self.costs.core
        return Cost(cycles / core.clock_ghz * 1e-9, cycles * core.active_pj_per_cycle * 1e-12)

    def _waiting(self, seconds: float) -> float:
        core = self.costs.core
        return seconds * core.clock_ghz * 1e9 * core.waiting_pj_per_cycle * 1e-12

    def _transfer(self, vectors: int, size: int, bits: int | None, links: float) -> Cost:
        """Moves vectors of so many values, whole words each: the core does it, or the links of tiles, evenly."""
        tile, width = self.costs.tile, math.ceil((bits or 32) / 8)
        moved = vectors * math.ceil(size * width / WORD_BYTES) * WORD_BYTES
        buffers = moved * tile.buffer_pj_per_byte * 1e-12
        seconds = moved / tile.io_bytes_per_ns * 1e-9
        if tile.links == "own":
            return Cost(seconds / links, self._waiting(seconds / links) + buffers)
        return Cost(seconds, self._work(seconds * self.costs.core.clock_ghz * 1e9).energy_j + buffers)

    def _products(self, machine: Hardware, products: float, rounds: float) -> Cost:
        """Time of products one after the other, and what tiles with their converters take for all of them."""
        energy = products * machine.cells * self.costs.tile.product_pj_per_cell * 1e-12
        return Cost(rounds * self.costs.tile.product_ns * 1e-9, energy)

    def _waiting_for(self, rounds: float) -> Cost:
        """What the core takes while it waits for products; their time is counted with them."""
        return Cost(0.0, self._waiting(rounds * self.costs.tile.product_ns * 1e-9))

    def _columns(self, matrix: MatrixShape) -> int:
        """Tiles, counted along the columns, that all groups drive, one group after the other.

        Groups lie side by side over nearly equal tiles, so a group may reach over the edge of one.
        """
        columns = matrix.cols * matrix.groups
        count = math.ceil(columns / self.hardware.tiles.cols)
        base, wider = divmod(columns, count)
        edges = [base * n + min(n, wider) for n in range(1, count)]
        return matrix.groups + sum(edge % matrix.cols != 0 for edge in edges)

    def _readouts(self, machine: Hardware, matrix: MatrixShape, copies: int) -> Cost:
        """Drift compensation: every tile is driven with the unit vectors; a sample's share."""
        if machine.devices is None or machine.compensation.drift == "none":
            return Cost()
        tiles = machine.tiles_for(matrix.rows, matrix.cols * matrix.groups, copies)
        vectors = tiles * machine.tiles.rows
        cost = self._transfer(vectors, machine.tiles.rows, machine.dac.bits, 1)
        cost += self._products(machine, vectors, vectors) + self._waiting_for(vectors)
        cost += self._transfer(vectors, machine.tiles.cols, machine.adc.bits, 1)
        return cost.times(1 / self.costs.tile.samples_per_readout)


@formulas.register
def _(costs: AlpineCosts, hardware: Hardware, graph: LayerGraph, numbers: NumberFormats) -> Alpine:
    tied = graph.tied(layer.name for layer in graph.layers if layer.multiplies and work_of(layer).parameters)
    holders = {name: len(group) for group in tied for name in group}
    weights = sum(
        work_of(layer).parameters * numbers(layer).bytes / holders.get(layer.name, 1) for layer in graph.multiplying
    )
    return Alpine(hardware, costs, holders, weights <= costs.memory.cache_bytes)


@schedule_of.register
def _(costs: AlpineCosts) -> tuple[int, bool]:
    return costs.core.count, costs.core.waits


@power_of.register
def _(costs: AlpineCosts, hardware: Hardware) -> Power:
    """By the energies and times of the description: per cycle, per product, per byte."""
    core, tile, memory = costs.core, costs.tile, costs.memory
    return Power(
        core=core.clock_ghz * core.active_pj_per_cycle * 1e-3,
        tile=hardware.most_cells * tile.product_pj_per_cell / tile.product_ns * 1e-3,
        waiting=core.clock_ghz * core.waiting_pj_per_cycle * 1e-3,
        link=tile.io_bytes_per_ns * tile.buffer_pj_per_byte * 1e-3,
        memory=memory.dram_gb_per_s * memory.dram_pj_per_byte * 1e-3,
        tiles_at_once=tile.schedule == "parallel",
    )
