"""Ways through a room's air: places to be, which of them see each other, walks and rounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_worlds.rooms.room import Room

    Array = NDArray[np.float64]

_PLACES = 56
_CANDIDATES = 1000
_HEIGHTS = (1.0, 1.7)  # metres, of a camera in the hand
_ROOM_AT_A_PLACE = 0.55  # metres to the nearest surface
_ROOM_ON_A_WAY = 0.45
_LEGS = (0.6, 3.5)  # metres between neighbours
_SAMPLES_A_WAY = 12
_SHARPEST_TURN = np.cos(np.radians(115))
_SPOTS = 12  # that a round is tried around
_OFF_CENTRE = 0.2  # of a room's size, how far such a spot is from the middle
_HUB = 0.6  # metres around it that a round leaves out
_WIDEST_STEP = np.radians(120)  # of a round, seen from the spot


def free_places(room: Room, rng: np.random.Generator) -> Array:
    """Places (n, 3) for a camera in the hand, each half a metre and more from all surfaces.

    Raises:
        SettingError: There is none.
    """
    low = (-room.size[0] / 2, -room.size[1] / 2, _HEIGHTS[0])
    high = (room.size[0] / 2, room.size[1] / 2, _HEIGHTS[1])
    candidates = rng.uniform(low, high, (_CANDIDATES, 3))
    places: Array = candidates[room.clearance(candidates) > _ROOM_AT_A_PLACE][:_PLACES]
    if len(places) == 0:
        raise no_way(room)
    return places


def no_way(room: Room) -> SettingError:
    """What is wrong with a room in which a camera cannot move as it should."""
    message = f"room {room.seed}: furniture leaves no way for this camera; choose another room seed"
    return SettingError(message)


class Roadmap:
    """Random places in a room and the straight ways between them.

    Attributes:
        places: (n, 3) metres.
        distance: (n, n) metres, inf where there is no straight way.
    """

    def __init__(self, room: Room, rng: np.random.Generator) -> None:
        self._room = room
        self.places = free_places(room, rng)
        first, second = np.triu_indices(len(self.places), 1)
        span = np.linalg.norm(self.places[first] - self.places[second], axis=1)
        near = (span > _LEGS[0]) & (span < _LEGS[1])
        first, second, span = first[near], second[near], span[near]
        share = np.linspace(0, 1, _SAMPLES_A_WAY)[:, None, None]
        between = self.places[first] + share * (self.places[second] - self.places[first])
        span[room.clearance(between).min(axis=0) < _ROOM_ON_A_WAY] = np.inf
        self.distance = np.full((len(self.places), len(self.places)), np.inf)
        self.distance[first, second] = self.distance[second, first] = span

    def walk(self, rng: np.random.Generator, length: float) -> Array:
        """Corners (n, 3) of a walk of at least `length` metres that goes where it was least.

        Raises:
            SettingError: No place is in sight of another.
        """
        ways = np.isfinite(self.distance)
        if not ways.any():
            raise no_way(self._room)
        here = int(rng.choice(np.flatnonzero(ways.any(axis=1))))
        visits = np.zeros(len(self.places))
        walk, heading, travelled = [here], np.zeros(3), 0.0
        while travelled < length:
            visits[here] += 1
            there = np.flatnonzero(ways[here])
            legs = self.places[there] - self.places[here]
            legs /= np.linalg.norm(legs, axis=1, keepdims=True)
            ahead = legs @ heading
            # Turning on the spot is for dead ends.
            news = 1.5 * (visits[there].min() - visits[there])
            weight = np.exp(ahead + news) * (ahead > _SHARPEST_TURN) + 1e-9
            chosen = rng.choice(len(there), p=weight / weight.sum())
            travelled += self.distance[here, there[chosen]]
            heading, here = legs[chosen], int(there[chosen])
            walk.append(here)
        return self.places[walk]

    def round(self, rng: np.random.Generator) -> Array:
        """Corners (n, 3) of a way once around a spot near the room's middle, the last by the first.

        Raises:
            SettingError: Furniture leaves no way round.
        """
        for _ in range(_SPOTS):
            spot = rng.uniform(-_OFF_CENTRE, _OFF_CENTRE, 2) * self._room.size[:2]
            x, y = (self.places[:, :2] - spot).T
            angle = np.arctan2(y, x)
            cost = self.distance * rng.uniform(1, 2, self.distance.shape)
            cost[np.hypot(x, y) < _HUB] = np.inf
            for start in rng.permutation(len(self.places)):
                corners = _round_from(int(start), angle, cost)
                if corners:
                    return self.places[corners]
        raise no_way(self._room)


def _round_from(start: int, angle: Array, cost: Array) -> list[int]:
    """Numbers of the places on the cheapest way round from `start`, empty where there is none.

    `angle` (n,) is that of each place about the middle; `cost` (n, n) that of each way.
    """
    turn = (angle - angle[start]) % (2 * np.pi)
    order = [*np.argsort(turn).tolist(), start]
    turn = np.append(np.sort(turn), 2 * np.pi)
    best, previous = np.full(len(order), np.inf), np.zeros(len(order), int)
    best[0] = 0.0
    # Every way leads to a larger angle, so one pass in their order finds the cheapest.
    for k in range(1, len(order)):
        onwards = turn[k] - turn[:k] < _WIDEST_STEP
        total = np.where(onwards, best[:k] + cost[order[:k], order[k]], np.inf)
        previous[k] = total.argmin()
        best[k] = total[previous[k]]
    if not np.isfinite(best[-1]):
        return []
    steps = [int(previous[-1])]
    while steps[-1] > 0:
        steps.append(int(previous[steps[-1]]))
    return [order[k] for k in reversed(steps)]
