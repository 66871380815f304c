"""`compress evaluate grasp`: VPG's test routine, with controls beside the policy."""

from __future__ import annotations

import base64
import time
import zlib
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import cv2
import numpy as np

from compressed_grasp.contact_sheet import ContactSheet
from compressed_grasp.intervals import bootstrap, wilson
from compressed_grasp.policies import geometric_policy, random_grasp_policy, random_policy
from compressed_grasp.q_policy import PUSH_BELOW, QPolicy
from compressed_grasp.routine import Episode, run_episode, summarise
from compressed_grasp.simulation import SimulatedTable
from compressed_grasp.workspace import Workspace
from edge_compression.protocol import EvaluationResult, Metric
from edge_runtime.bundle import load_bundle
from edge_runtime.engine import open_engine
from edge_runtime.errors import SettingError
from edge_worlds.tabletop.camera import (
    PERFECT,
    REAL,
    CameraFaults,
    crop_to_workspace,
    oblique_camera,
)
from edge_worlds.tabletop.packing import tight_row
from edge_worlds.tabletop.scene import random_pile, read_scene
from edge_worlds.tabletop.shapes import read_mesh
from edge_worlds.tabletop.world import TabletopWorld

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from compressed_grasp.action import Action
    from compressed_grasp.heightmap import HeightMap
    from compressed_grasp.policies import Policy
    from compressed_grasp.q_policy import Run
    from compressed_grasp.routine import Outcome
    from edge_compression.protocol import Trial
    from edge_worlds.tabletop.scene import Scene

    SceneMaker = Callable[[np.random.Generator], Scene]

CONTROLS = {
    "random": random_policy,
    "random-grasp": random_grasp_policy,
    "geometric": geometric_policy,
}
LEARNED = ("learned", "learned-grasp")
BASELINE = "vpg"
FAULTS = {
    "none": PERFECT,
    "real": REAL,
    "harsh": CameraFaults(
        noise=0.003,
        holes=0.3,
        flying=0.5,
        baseline=0.05,
        rotation=REAL.rotation,
        translation=REAL.translation,
    ),
}
_SPACE = Workspace.square(112)


class GraspEvaluation:
    """The routine; a trial is one run of one policy in one scene."""

    metrics: ClassVar[Mapping[str, Metric]] = {
        "completion": Metric("share of the runs in which every object was grasped"),
        "grasp_success": Metric("of a run's grasps, mean over completed runs"),
        "efficiency": Metric("objects per action, mean over completed runs"),
        "grasp_success_of_all": Metric("of all grasps of all runs"),
        "efficiency_of_all": Metric("objects grasped per action of all runs"),
        "decision": Metric("mean time of a decision, height map to action", "ms", "lower"),
    }

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add scenes, policies, runs, and the camera's faults."""
        parser.add_argument("--scenes", type=Path, metavar="DIR", help="VPG's test cases, *.txt")
        parser.add_argument(
            "--meshes", type=Path, metavar="DIR", help="their meshes (default: SCENES/../blocks)"
        )
        parser.add_argument(
            "--piles",
            type=int,
            nargs="+",
            default=[],
            metavar="N",
            help="also random piles of so many objects: of --meshes if given, else drawn",
        )
        parser.add_argument(
            "--rows",
            type=int,
            nargs="+",
            default=[],
            choices=range(2, 6),
            metavar="N",
            help="also rows of so many boxes (2 to 5) that must be pushed apart to be grasped",
        )
        parser.add_argument("--runs", type=int, default=30, help="of each scene (default: 30)")
        parser.add_argument(
            "--policy",
            nargs="+",
            choices=[*LEARNED, BASELINE, *CONTROLS],
            help="the first is quoted (default: with a bundle the learned ones, with --vpg VPG, "
            "and the controls)",
        )
        parser.add_argument(
            "--vpg",
            type=Path,
            metavar="FILE",
            help="VPG's network: weights, as benchmarks/grasp_vpg.py makes them",
        )
        parser.add_argument(
            "--faults", choices=FAULTS, default="real", help="of the depth camera (default: real)"
        )
        parser.add_argument("--precision", choices=("fp32", "fp16", "int8"), help="of the engine")
        parser.add_argument("--seed", type=int, default=0)

    def trials(self, args: Namespace) -> Mapping[str, Trial]:
        """Return a trial for each policy, scene and run.

        Raises:
            SettingError: There is nothing to run, a learned policy without a bundle, or a scene
                that cannot be read.
        """
        makers = _scenes(args)
        if args.runs < 1 or not makers:
            message = f"{args.runs} runs of {len(makers)} scenes; give --scenes, --piles or --rows"
            raise SettingError(message)
        for policy in _policies(args):
            option = _network_option(policy)
            if option and getattr(args, option) is None:
                message = f"policy {policy} needs a network: give --{option}"
                raise SettingError(message)
        if args.vpg is not None:
            _vpg(args.vpg)
        return {
            f"{policy} {scene} {run:03}": partial(
                _trial,
                policy=policy,
                network=getattr(args, _network_option(policy) or "", None),
                precision=args.precision,
                make=make,
                faults=FAULTS[args.faults],
                seed=(args.seed, zlib.crc32(scene.encode()), run),
            )
            for policy in _policies(args)
            for scene, make in makers.items()
            for run in range(args.runs)
        }

    def summarise(
        self, args: Namespace, results: Mapping[str, Mapping[str, Any]]
    ) -> EvaluationResult:
        """Put runs together by policy, and by policy and scene."""
        policies, scenes = _policies(args), list(_scenes(args))
        by_policy = {
            policy: [
                results[f"{policy} {scene} {run:03}"] for scene in scenes for run in _runs(args)
            ]
            for policy in policies
        }
        by_scene = [
            {"policy": policy, "scene": scene, **_row(runs)}
            for policy in policies
            for scene in scenes
            for runs in [[results[f"{policy} {scene} {run:03}"] for run in _runs(args)]]
        ]
        first = by_policy[policies[0]]
        figures = asdict(summarise([_episode(each) for each in first]))
        figures["decision"] = _decision(first)
        low, high = wilson(sum(_episode(each).completed for each in first), len(first))
        return EvaluationResult(
            verdict=f"{policies[0]} cleared {figures['completion']:.1%} of {len(first)} tables "
            f"({low:.1%} to {high:.1%})",
            metrics=figures,
            tables={
                "Policies [%], 95 % interval": [
                    {"policy": policy, **_row(runs)} for policy, runs in by_policy.items()
                ],
                "Scenes [%], 95 % interval": by_scene,
            },
            pictures=[
                (f"{policies[0]} in {scene}", _picture(results[f"{policies[0]} {scene} 000"]))
                for scene in scenes
            ],
        )


def _policies(args: Namespace) -> Sequence[str]:
    if args.policy:
        return list(dict.fromkeys(args.policy))
    return [
        *(LEARNED if args.bundle else ()),
        *([BASELINE] if args.vpg else ()),
        *CONTROLS,
    ]


def _network_option(policy: str) -> str | None:
    """Return the option by which a policy gets its network; None where it needs none."""
    if policy in LEARNED:
        return "bundle"
    return "vpg" if policy == BASELINE else None


def _runs(args: Namespace) -> range:
    return range(args.runs)


def _scenes(args: Namespace) -> dict[str, SceneMaker]:
    makers: dict[str, SceneMaker] = {}
    meshes = args.meshes
    if args.scenes is not None:
        meshes = meshes or args.scenes.parent / "blocks"
        files = sorted(args.scenes.glob("*.txt"))
        if not files:
            message = f"there is no scene in '{args.scenes}'; give a folder of VPG's *.txt"
            raise SettingError(message)
        for file in files:
            scene = read_scene(file, meshes)
            makers[scene.name] = partial(_same, scene)
    shapes = [read_mesh(file) for file in sorted(meshes.glob("*.obj"))] if meshes else []
    for count in args.piles:
        makers[f"pile-{count}"] = partial(random_pile, count=count, shapes=shapes)
    for count in args.rows:
        makers[f"row-{count}"] = partial(tight_row, count=count)
    return makers


def _same(scene: Scene, rng: np.random.Generator) -> Scene:
    del rng
    return scene


def _trial(
    *,
    policy: str,
    network: Path | None,
    precision: str | None,
    make: SceneMaker,
    faults: CameraFaults,
    seed: tuple[int, ...],
) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    world = TabletopWorld(make(rng))
    table = SimulatedTable(
        world, crop_to_workspace(oblique_camera()), _SPACE, faults, rng, colored=False
    )
    watched = _Watched(policy, network, precision)
    began = time.perf_counter()
    episode = run_episode(table, watched, _SPACE, rng, watched.done)
    return {
        **asdict(episode),
        "seconds": time.perf_counter() - began,
        "decision": watched.seconds / max(watched.decisions, 1),
        "sheet": base64.b64encode(watched.sheet.jpeg(table.observe())).decode(),
    }


class _Watched:
    """A policy, its time, and a sheet of what it does."""

    def __init__(self, name: str, network: Path | None, precision: str | None) -> None:
        self.sheet = ContactSheet(_SPACE)
        self.seconds = 0.0
        self.decisions = 0
        self._q: NDArray[np.float32] | None = None
        self._policy: Policy
        if network is None:
            self._policy = CONTROLS[name]
        else:
            self._run = _vpg(network) if name == BASELINE else _engine(network, precision)
            self._policy = QPolicy(
                self._remember, push_below=0.0 if name == LEARNED[1] else PUSH_BELOW
            )

    def __call__(
        self,
        seen: HeightMap,
        workspace: Workspace,
        rng: np.random.Generator,
        useless: Sequence[Action],
    ) -> Action | None:
        began = time.perf_counter()
        action = self._policy(seen, workspace, rng, useless)
        self.seconds += time.perf_counter() - began
        self.decisions += 1
        return action

    def done(self, seen: HeightMap, action: Action, outcome: Outcome) -> None:
        self.sheet.add(seen, action, outcome, self._q)

    def _remember(
        self, inputs: Mapping[str, NDArray[np.float32]]
    ) -> Mapping[str, NDArray[np.float32]]:
        outputs = self._run(inputs)
        self._q = outputs["q"][0]
        return outputs


@lru_cache(maxsize=2)
def _engine(bundle: Path, precision: str | None) -> Run:
    return open_engine(load_bundle(bundle, "grasp"), threads=1, precision=precision).run


@lru_cache(maxsize=1)
def _vpg(file: Path) -> Run:
    # Where there is no torch the other policies still run.
    from compressed_grasp.vpg import load_run

    return load_run(file)


def _episode(result: Mapping[str, Any]) -> Episode:
    return Episode(**{key: result[key] for key in ("objects", "pushes", "grasps", "successes")})


def _decision(results: Sequence[Mapping[str, Any]]) -> float:
    return 1e3 * float(np.mean([each["decision"] for each in results]))


def _row(results: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    episodes = [_episode(each) for each in results]
    row: dict[str, object] = {"runs": len(episodes)}
    for name, value in asdict(summarise(episodes)).items():
        interval = (
            wilson(sum(each.completed for each in episodes), len(episodes))
            if name == "completion"
            else bootstrap(episodes, partial(_summary_value, name))
        )
        row[name.replace("_", " ")] = _percent(value, interval)
    row["pushes per run"] = round(float(np.mean([each.pushes for each in episodes])), 2)
    row["decision [ms]"] = round(_decision(results), 2)
    return row


def _summary_value(name: str, episodes: Sequence[Episode]) -> float:
    value: float = getattr(summarise(episodes), name)
    return value


def _percent(value: float, interval: tuple[float, float]) -> str:
    if not np.isfinite(value):
        return "-"
    low, high = interval
    return f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _picture(result: Mapping[str, Any]) -> NDArray[np.uint8]:
    encoded = np.frombuffer(base64.b64decode(result["sheet"]), np.uint8)
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)
