"""tvmconv bench: times kernels beside other libraries."""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

from tvmconv.bench.layer import Bench, measured_peak
from tvmconv.bench.plan import plan
from tvmconv.cli import values
from tvmconv.cli.build import build
from tvmconv.cli.device import Work, at_work
from tvmconv.cli.measuring import rules_of
from tvmconv.cli.output import Output, exit_code, within_layer
from tvmconv.database.rows import ResultFile
from tvmconv.measure import peers
from tvmconv.measure.interleaved import Best
from tvmconv.report import bench_plot, figure
from tvmconv.report.bench import bench_table
from tvmconv.report.summary import seconds
from tvmconv.rpc.client.worker import Peak
from tvmconv.target.devices import EMULATOR
from tvmconv.workload.resolve import resolve


def run(options: argparse.Namespace, output: Output) -> int:
    if options.device == EMULATOR:
        raise ValueError(f"bench cannot measure on --device {EMULATOR}, which has no speed of its own")
    if options.plot:
        figure.check(options.plot, "--plot")
    with at_work(options, output) as work:
        code = _bench(options, output, work)
    return _drawn(options.plot, output, code) if options.plot else code


def _bench(options: argparse.Namespace, output: Output, work: Work) -> int:
    setting, remote = work.setting, work.remote
    output.machine = work.machine
    algorithms = options.algorithm or values.all_algorithms(options.layout)
    contenders = _peers(options.peers, are_run=remote is None)
    layers = resolve(options.workloads, output.warn)
    uncounted = {peer.name for peer in contenders if not peer.counts}
    unnamed = algorithms.unnamed(options.verbose)
    output.table_at_end(partial(bench_table, uncounted=uncounted, unnamed=unnamed))

    tasks = list(plan(layers, algorithms.names, setting))
    with results(options.output) as file:
        peak = _peak(work, output)
        kernels = iter(build(tasks, setting, options.jobs, output, peak))
        if file:
            file.begin(output.context())
        known = file.known if file else lambda rows: None
        rules = rules_of(options, cold=options.cold)
        bench = Bench(setting, contenders, rules, options.jobs, known, Best(peak or 0.0), remote)
        with output.progress("measure") as progress:
            for index, layer in enumerate(layers):
                own = [next(kernels) for _ in range(len(algorithms.names) * len(setting.schedules))]
                rows = bench.layer(layer, own, partial(within_layer, progress, index, len(layers)))
                for row in rows:
                    output.row(row)
                if file:
                    file.append(*rows)
    return exit_code(output.rows, algorithms.required)


def _peak(work: Work, output: Output) -> float | None:
    """GFLOP/s of multiply-adds where the kernels run; None where that cannot be known."""
    setting, remote = work.setting, work.remote
    if remote is None:
        return measured_peak(setting.target.isa, setting.cpus)
    if remote.where.emulated:
        output.warn(f"{remote.where.name} is emulated: its kernels are the device's, its times mean nothing")
        return None
    peak: float | None = remote.asked("the probe", Peak(setting.target, setting.threads), remote.deadlines.seconds())
    remote.leave()
    return peak


def _drawn(path: Path, output: Output, code: int) -> int:
    """Draw the plot; the exit code. That it fails must not cost the table, which is shown at the end."""
    if all(seconds(row) is None for row in output.rows):
        output.warn(f"nothing was measured, so that there is nothing to draw in {path}")
        return code
    try:
        bench_plot.draw(output.rows, output.context()["cpu"], path)
    except OSError as error:
        output.warn(str(error))
        return 1
    return code


def results(path: Path | None) -> AbstractContextManager[ResultFile | None]:
    """The file that --output names, opened and read before anything is built, as it may turn out to be unfit."""
    if path is None:
        return nullcontext()
    if not path.parent.is_dir():
        raise ValueError(f"--output {path}: there is no folder {path.parent}; make it first")
    if path.exists() and not path.is_file():
        raise ValueError(f"--output {path} is a folder or a special file: name a plain file")
    return ResultFile(path)


def _peers(text: str, are_run: bool) -> list[peers.Peer]:
    """The peers that --peers asks for. Raises ValueError for one that is unknown, or not installed if they are run."""
    if text == "all":
        return [peer for peer in peers.PEERS if peers.available(peer)]
    found = [peers.find(name) for name in dict.fromkeys(filter(None, text.split(",")))]
    for peer in found if are_run else ():
        peers.require(peer)
    return found
