"""Pictures without depth, whose flow a teacher tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from test_training import TINY

from compressed_slam.skill import SlamSkill
from compressed_slam.training.data import SlamData, training_batches
from compressed_slam.training.video_pairs import VideoPairs, consistent, read_video
from edge_compression.checkpoint import save_checkpoint
from edge_runtime.errors import SettingError

if TYPE_CHECKING:
    from pathlib import Path

    from compressed_slam.training.clips import Clip


class Shifting(torch.nn.Module):
    """Says that everything moves by a cell to the right, from picture 1 to picture 2."""

    def forward(self, image1: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor, None]:
        flow = torch.zeros(len(image1), 2, image1.shape[2] // 8, image1.shape[3] // 8)
        flow[:, 0] = torch.tensor([1.0, -1.0])[:, None, None]
        return flow, None


def test_flow_is_the_teachers_where_it_leads_back(room: Clip) -> None:
    pairs = VideoPairs([list(room.bgr)], Shifting())  # type: ignore[arg-type]
    pair = pairs.draw(np.random.default_rng(0), (160, 128))
    assert pair.first.shape == (128, 160, 3)
    assert not np.array_equal(pair.first, pair.second)
    assert pair.flow.visible[:, :-1].all()
    assert not pair.flow.known[:, -1].any()  # it leads out of the picture
    assert (pair.flow.cells[:, :-1] == (1, 0)).all()
    assert not pair.flow.cells[:, -1].any()


def test_what_does_not_lead_home_is_not_consistent() -> None:
    there, back = np.zeros((2, 16, 16, 2), np.float32)
    there[..., 0], back[..., 0] = 2, -2
    back[4, 6] += 0.4  # 3.2 pixels of 16
    found = consistent(there, back)
    assert found[:4, :14].all()
    assert not found[4, 4]
    assert found.sum() == 16 * 14 - 1


@pytest.fixture
def taught(recording: Path, tmp_path: Path) -> SlamData:
    torch.manual_seed(0)
    skill = SlamSkill()
    save_checkpoint(tmp_path / "teacher.pt", skill, skill.build_network(TINY))
    return SlamData(
        rooms=0,
        sequences=(recording,),
        videos=(recording / "rgb",),
        teacher=tmp_path / "teacher.pt",
        crop=(128, 128),
    )


def test_batches_with_a_teacher_depend_on_seed_and_number_alone(taught: SlamData) -> None:
    stream = training_batches(taught, 4, seed=5, start_step=0)
    batches = [next(stream) for _ in range(2)]
    again = next(training_batches(taught, 4, seed=5, start_step=1))
    assert all(torch.equal(again[name], tensor) for name, tensor in batches[1].items())
    without = taught.model_copy(update={"videos": (), "teacher": None})
    other = next(training_batches(without, 4, seed=5, start_step=1))
    assert not torch.equal(other["image1"], again["image1"])


def test_another_teacher_is_other_data(taught: SlamData) -> None:
    before = taught.digest()
    assert taught.teacher is not None
    taught.teacher.write_bytes(b"another")
    assert taught.digest() != before


def test_videos_without_a_teacher_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="give both"):
        SlamData(rooms=1, videos=(tmp_path,))


def test_a_folder_that_is_no_video_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((100, 200, 3), np.uint8))
    with pytest.raises(SettingError, match="1 pictures: a video is two or more"):
        read_video(tmp_path, (320, 240))
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((100, 200, 3), np.uint8))
    assert [picture.shape for picture in read_video(tmp_path, (320, 240))] == [(240, 480, 3)] * 2
